"""A seeded world that lives through faults and crashes, and an auditor who counts the money."""
