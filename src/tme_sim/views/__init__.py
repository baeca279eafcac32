"""What is shown (to come)."""
