"""The longer runs, each with a script of its own, and what they are made of."""
