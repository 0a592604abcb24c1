"""The door: HTTP, agents, loops, and the one shell that joins the rest."""
