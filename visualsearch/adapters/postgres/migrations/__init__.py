"""The Postgres schema, as Alembic migrations in plain SQL."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from visualsearch.domain.errors import Unavailable


def migrate(dsn: str, password: str) -> None:
    """Migrate the schema to the newest version; several processes may call this at once.

    Raises ``Unavailable`` if Postgres does not answer.
    """
    url = make_url(dsn).set(drivername="postgresql+psycopg")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url.set(password=password) if password else url
    try:
        command.upgrade(config, "head")
    except OperationalError as error:
        raise Unavailable("Postgres", str(error.orig)[:200]) from None
