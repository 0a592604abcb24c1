"""Tools that run in processes of ours, a file for each family."""
