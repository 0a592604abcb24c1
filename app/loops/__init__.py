"""What a process does by itself, turn after turn, so that nothing waits for somebody's poll."""
