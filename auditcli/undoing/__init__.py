"""What planning an undo reads of the log."""
