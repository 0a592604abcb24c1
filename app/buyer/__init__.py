"""A buyer's program: it knows the server by its HTTP surface alone."""
