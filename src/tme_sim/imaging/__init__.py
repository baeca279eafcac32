"""What is seen (to come)."""
