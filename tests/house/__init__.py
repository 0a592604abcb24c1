"""The house's own rules: rooms, words, scripts, the package and what is installed."""
