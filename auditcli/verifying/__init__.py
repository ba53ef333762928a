"""Parts of `verify.py`."""
