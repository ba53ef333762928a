"""The change log's tables and the only code that reads or writes them."""
