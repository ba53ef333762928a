"""The parts of the screen; each gets what it shows and posts what its user wants, and knows no other."""
