"""Migrations of the vote store, oldest first, as Alembic reads them."""
