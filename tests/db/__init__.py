"""Postgres: statements, plans, the auditor, and states of it that are nobody's fault."""
