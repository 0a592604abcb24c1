"""The command `boltwork` on a terminal, and the settings it starts with."""
