"""How each promise is kept: read the row, ask the outside, report what came of it."""
