"""How a process listens: its address, its connections, and a clean end."""
