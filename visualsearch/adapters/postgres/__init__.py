"""PostgreSQL: one pool of connections, and a repository per noun."""
