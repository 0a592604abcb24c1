"""Money, rates and the bitcoin price."""
