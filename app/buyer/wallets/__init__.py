"""The wallets of a buyer. None of them is a rail of the house: they pay it."""
