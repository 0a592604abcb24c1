"""The scale: what it costs. Pure, but for the one oracle file."""
