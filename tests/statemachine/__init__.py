"""The law: its tables, its stories, and what holds in every schedule."""
