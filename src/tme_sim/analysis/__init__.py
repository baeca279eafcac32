"""What is concluded: numbers from states."""
