"""The Chinook music store as a sample database: its models, its rows and two weeks of traffic."""
