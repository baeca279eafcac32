"""What exists: plain arrays without behaviour."""
