"""What every server answers whatever it sells: health, and development's own doors."""
