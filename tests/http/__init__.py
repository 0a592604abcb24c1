"""What the doors share: limits per caller, envelopes, connections, strangers' input."""
