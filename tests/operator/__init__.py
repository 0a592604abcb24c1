"""What an operator has: books, backups, switches, receiving wallets."""
