"""Credentials, signatures, and the secret that seals them."""
