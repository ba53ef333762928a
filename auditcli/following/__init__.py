"""What following a log live takes: where to begin, when to look, and what to tell meanwhile."""
