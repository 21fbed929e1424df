"""Export clicks as training pairs: the query's picture, its box, and the clicked picture.

    python -m training.click_pairs out/clicks [--since 2026-01-01]

Reads Postgres and the object store that the settings name (``VISUALSEARCH_*``). ``pairs.jsonl`` has one line per pair:
``{"query": file, "box": "x1,y1,x2,y2" or "", "positive": file, "clicks": n}``. Pairs include only queries whose picture
was stored (``VISUALSEARCH_STORE_QUERIES``), and only public pictures that still exist.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import obstore
import psycopg
from obstore.exceptions import BaseError
from obstore.store import S3Store
from psycopg.rows import dict_row
from rich.progress import track

from visualsearch.adapters.s3.object_store import client_options
from visualsearch.domain.errors import Unavailable, VisualSearchError
from visualsearch.domain.query_images import PREFIX, Part, part_named
from visualsearch.imaging.formats.table import content_type
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 30.0
"""Timeout of fetching one object."""
CLICKED = """
SELECT queries.blob_key, queries.box, images.uri, count(*) AS clicks
FROM interactions
JOIN queries ON queries.id = interactions.query_image_id
JOIN images ON images.id = interactions.displayed_image_id
WHERE interactions.type = 'click' AND queries.blob_key <> '' AND images.status = 'indexed'
  AND images.visibility = 'public' AND interactions.ts >= %s
GROUP BY queries.id, queries.blob_key, queries.box, images.id, images.uri
ORDER BY queries.id, images.id
"""


def export(settings: Settings, into: Path, since: datetime) -> tuple[int, int]:
    """Write the pairs and their pictures; return the number of pairs, and of those without a picture in the store.

    Raises ``Unavailable`` if Postgres or the object store does not respond.
    """
    into.mkdir(parents=True, exist_ok=True)
    store, rows, pairs = _store(settings), _clicked(settings, since), []
    for row in track(rows, "Fetching"):
        query = _fetched(store, part_named(row["blob_key"]), into / "queries")
        positive = _fetched(store, Part(unquote(urlsplit(row["uri"]).path).lstrip("/")), into / "positives")
        if query and positive:
            files = {"query": query.relative_to(into).as_posix(), "positive": positive.relative_to(into).as_posix()}
            pairs.append({**files, "box": row["box"], "clicks": row["clicks"]})
    (into / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return len(pairs), len(rows) - len(pairs)


def _clicked(settings: Settings, since: datetime) -> list[dict[str, Any]]:
    password = settings.postgres_password.get_secret_value() or None
    try:
        with psycopg.connect(
            settings.postgres_dsn, password=password, connect_timeout=5, row_factory=dict_row
        ) as connection:
            return connection.execute(CLICKED, [since]).fetchall()
    except psycopg.OperationalError as error:
        raise Unavailable("Postgres", str(error)[:200]) from None


def _store(settings: Settings) -> S3Store:
    return S3Store(
        settings.s3_bucket,
        endpoint=settings.s3_url,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key.get_secret_value(),
        secret_access_key=settings.s3_secret_key.get_secret_value(),
        virtual_hosted_style_request=False,
        client_options=client_options(settings.s3_url, TIMEOUT_S, settings.client_tls),
    )


def _fetched(store: S3Store, part: Part, folder: Path) -> Path | None:
    """Write an object, or a part of one, to a folder under a unique name. Return None if it no longer exists."""
    with _store_trouble():
        try:
            data = part.of(bytes(obstore.get(store, part.key).bytes()))
        except FileNotFoundError:
            return None
    folder.mkdir(exist_ok=True)
    suffix = content_type(data).rpartition("/")[2]
    name = part.key.removeprefix(PREFIX).replace("/", "_") + (f"_{part.begin}" if part.end else "")
    file = folder / f"{name[-100:]}.{suffix}"
    file.write_bytes(data)
    return file


@contextmanager
def _store_trouble() -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise Unavailable("The object store", str(error)[:200]) from None


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="training.click_pairs", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("into", type=Path)
    parser.add_argument(
        "--since", type=datetime.fromisoformat, default=datetime(1970, 1, 1), help="a date; all when left out"
    )
    given = parser.parse_args(words)
    try:
        pairs, without = export(Settings.load(), given.into, given.since)
    except VisualSearchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"{pairs} pairs in {given.into}; {without} left out, since a picture is gone")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
