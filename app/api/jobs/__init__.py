"""The agent jobs API: jobs, sessions and their requests, asks, demos, conversations."""
