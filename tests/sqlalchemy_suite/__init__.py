"""SQLAlchemy's own tests of its ORM, with and without our listeners on each engine: both have to come out alike."""
