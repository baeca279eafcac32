"""What the commands do and print; `cli.py` parses and calls them, each with its parsed options, for an exit code."""
