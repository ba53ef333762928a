"""The full-screen explorer: draws what the library finds, and changes nothing that the library would not let it."""
