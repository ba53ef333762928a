"""From a folded history to ordered steps and conflicts; nothing here knows a database."""
