"""The one screen that is always there, a family of actions a file."""
