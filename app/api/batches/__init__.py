"""Many images or films at once: the bulk API."""
