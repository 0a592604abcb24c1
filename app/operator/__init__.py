"""What the operator has done: books reviewed, wallets opened, keys rotated, switches turned."""
