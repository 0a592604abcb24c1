"""The program of those who lend a machine."""
