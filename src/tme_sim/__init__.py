"""tme_sim."""
