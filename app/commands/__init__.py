"""The operator's and the buyer's terminal: the command `boltwork`."""
