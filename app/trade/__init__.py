"""The desks: each does one trade (orders, sessions, refunds …), and knows no HTTP."""
