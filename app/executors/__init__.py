"""Adapters that make pictures and films."""
