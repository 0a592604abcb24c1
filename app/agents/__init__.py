"""The code that asks a model: one Protocol, and the adapters behind it."""
