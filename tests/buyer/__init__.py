"""A buyer's program: its client, its wallets, its budget, and servers that lie to it."""
