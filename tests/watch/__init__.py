"""Who waits, and what they are told."""
