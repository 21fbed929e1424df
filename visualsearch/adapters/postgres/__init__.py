"""PostgreSQL: one connection pool, and a repository for each entity."""
