"""What happens: one mechanism per file."""
