"""The versions of the store's schema, one file each, up and down, for SQLite and PostgreSQL."""
