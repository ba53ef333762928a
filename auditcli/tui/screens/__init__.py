"""The screens: each owns its widgets and asks the library for what they show."""
