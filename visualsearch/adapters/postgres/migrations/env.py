"""Alembic's environment: opens the connection and migrates under an advisory lock."""

from alembic import context
from sqlalchemy import create_engine, pool, text

LOCK = 7461926

engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool, connect_args={"connect_timeout": 10})
with engine.begin() as connection:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
