"""What taking the rows back to a position is made of: the rows that the log tells of, and what it can't tell."""
