"""Databases of the tests' own, on the Postgres of the running stack."""

import uuid
from contextlib import contextmanager

import psycopg

from visualsearch.adapters.postgres.migrations import migrate


@contextmanager
def migrated_database(settings):
    """Create a migrated database, yield its (dsn, password), and drop it."""
    password = settings.postgres_password.get_secret_value()
    name = f"test_{uuid.uuid4().hex[:8]}"
    dsn = f"{settings.postgres_dsn.rsplit('/', 1)[0]}/{name}"
    with psycopg.connect(settings.postgres_dsn, password=password, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            migrate(dsn, password)
            yield dsn, password
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
