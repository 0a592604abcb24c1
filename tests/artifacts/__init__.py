"""Files: taken, recoded, kept, let go."""
