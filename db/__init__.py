"""The memory: rows, ledger entries, promises. The only place that speaks SQL."""
