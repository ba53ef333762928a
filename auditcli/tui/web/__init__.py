"""The explorer in a browser, for whoever has the address that was printed."""
