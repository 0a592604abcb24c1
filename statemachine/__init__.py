"""The law: what may happen, and what it means in money. Pure: no clock, network or database."""
