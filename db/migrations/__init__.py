"""Alembic migrations: how a database gets the tables of `db.tables`."""
