"""How each promise is kept: work, refunds, notices."""
