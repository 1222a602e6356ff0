"""SQL: the only wing that knows the database."""
