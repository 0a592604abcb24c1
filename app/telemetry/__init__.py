"""What is reported of this process: logs, metrics, traces, and how it is."""
