"""The roles of a local stack's Postgres: an administrator, and the application's, which owns its own database alone."""

from __future__ import annotations

from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Literal

ADMINISTRATOR = "postgres"
FORMER = "visualsearch_former"
"""What the application's role of a cluster from before is called now. It made the cluster, so it cannot be demoted."""
TIMEOUT_S = 3
GIVE = Path(__file__).parent / "postgres" / "give-to-application.sql"


def ensure_roles(dsn: str, password: str, administrator_password: str) -> None:
    """Connect as the application; create its role and database first if they are missing.

    In a cluster from before, whose application was a superuser, give the database to a role that is none. Raises
    ``psycopg.OperationalError`` if the server does not answer or knows neither password.
    """
    try:
        with psycopg.connect(dsn, password=password, connect_timeout=TIMEOUT_S) as connection:
            row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    except psycopg.OperationalError as error:
        if "authentication failed" not in str(error) and "does not exist" not in str(error):
            raise
        _create(dsn, password, administrator_password)
    else:
        if row == (True,):
            _demote(dsn, password, administrator_password)


def _create(dsn: str, password: str, administrator_password: str) -> None:
    administrator = make_conninfo(
        dsn, user=ADMINISTRATOR, dbname="postgres", password=administrator_password, connect_timeout=TIMEOUT_S
    )
    with psycopg.connect(administrator, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = 'visualsearch'").rowcount == 0:
            connection.execute(SQL("CREATE ROLE visualsearch LOGIN PASSWORD {}").format(Literal(password)))
        if connection.execute("SELECT FROM pg_database WHERE datname = 'visualsearch'").rowcount == 0:
            connection.execute("CREATE DATABASE visualsearch OWNER visualsearch")


def _demote(dsn: str, password: str, administrator_password: str) -> None:
    """Replace the superuser of this name by a role that owns the database alone: all of it or nothing."""
    with psycopg.connect(dsn, password=password, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [ADMINISTRATOR]).rowcount == 0:
            command = SQL("CREATE ROLE postgres SUPERUSER LOGIN PASSWORD {}")
            connection.execute(command.format(Literal(administrator_password)))
    with psycopg.connect(make_conninfo(dsn, user=ADMINISTRATOR, password=administrator_password)) as connection:
        connection.execute(f"ALTER ROLE visualsearch RENAME TO {FORMER}")
        connection.execute(f"ALTER ROLE {FORMER} NOLOGIN")
        connection.execute(SQL("CREATE ROLE visualsearch LOGIN PASSWORD {}").format(Literal(password)))
        connection.execute(GIVE.read_bytes())
