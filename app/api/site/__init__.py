"""What every server answers whatever it sells: health, the contract, development's own doors."""
