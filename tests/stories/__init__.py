"""The law told as stories: what a machine hears, and all that follows in state, money and promises.

Every expectation is written by hand, none is read from the law. test_stories.py plays them,
and `scripts/diagrams` prints them beside the diagrams: they are the specification.
"""
