"""Those who lend machines: they register, take what waits, bring it, and are paid."""
