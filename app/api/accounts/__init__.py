"""Accounts of people: signing in, and what an account has."""
