"""Where things happen: lattices with vessels and places for cells."""
