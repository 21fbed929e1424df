"""Separate databases for tests, on the Postgres of the running stack."""

import uuid
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import make_conninfo

from compose.postgres_roles import ADMINISTRATOR
from compose.state import credentials
from visualsearch.adapters.postgres.migrations import migrate


@contextmanager
def migrated_database(settings):
    """Create a migrated database, yield its (dsn, password), and drop it."""
    password = settings.postgres_password.get_secret_value()
    name = f"test_{uuid.uuid4().hex[:8]}"
    dsn = f"{settings.postgres_dsn.rsplit('/', 1)[0]}/{name}"
    # The application may not create databases.
    secret = credentials(settings.home / "secrets.env")["POSTGRES_ADMIN_PASSWORD"]
    administrator = make_conninfo(settings.postgres_dsn, user=ADMINISTRATOR, password=secret)
    with psycopg.connect(administrator, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} OWNER visualsearch")
        try:
            migrate(dsn, password)
            yield dsn, password
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
