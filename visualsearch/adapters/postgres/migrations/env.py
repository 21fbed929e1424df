"""Alembic's environment: opens the connection and migrates under an advisory lock."""

from alembic import context
from sqlalchemy import create_engine, pool, text

LOCK = 7461926

# A statement prepared in a session of a connection pooler would collide with those of others.
OPTIONS = {"connect_timeout": 10, "prepare_threshold": None}
engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool, connect_args=OPTIONS)
with engine.begin() as connection:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
