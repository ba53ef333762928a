"""How changes get into the log."""
