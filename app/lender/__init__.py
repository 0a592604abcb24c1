"""The program of those who lend a machine: it takes what waits at a server, makes it, is paid."""
