"""The adapters that ask models."""
