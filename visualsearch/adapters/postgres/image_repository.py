"""Images, their deletions and the ids of queries, in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from visualsearch.domain.errors import NotFound
from visualsearch.domain.images import UNLIMITED, Image, ImageContent, ImagePage, Status, Usage, Visibility
from visualsearch.ports import ImageRepository

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from visualsearch.adapters.postgres.database import Database
    from visualsearch.domain.images import ImageChange, ImageMetadata, ImageSelection, NewImage, Quota


COLUMNS = "id, uri, width, height, created_at, status, reason, source, owner, visibility, content_hash, etag"
SCANNED = 20_000
"""Rows that one page of a listing looks at. They take about 20 ms."""
USAGE = "SELECT images, bytes FROM owner_usage WHERE owner = %s"
REGISTER = f"""INSERT INTO images AS old (uri, source, owner, visibility, content_hash, etag, bytes)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::bigint[])
    ON CONFLICT (uri) DO UPDATE SET
      etag = COALESCE(NULLIF(excluded.etag, ''), old.etag),
      bytes = COALESCE(NULLIF(excluded.bytes, 0), old.bytes),
      promised_at = now(),
      status = CASE WHEN old.status = 'indexed' AND old.content_hash = excluded.content_hash
               THEN 'indexed' ELSE 'pending' END,
      reason = NULL
    RETURNING {COLUMNS}"""  # noqa: S608


class PostgresImages(ImageRepository):
    """The image repository, on the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @override
    async def register(self, new: NewImage, quota: Quota = UNLIMITED) -> Image:
        if not new.owner or quota.is_unlimited:
            return (await self.register_all([new]))[0]
        async with self.database.connection() as connection, connection.transaction():
            cursor = await connection.execute(REGISTER, _columns([new]))
            row = await cursor.fetchone()
            # The trigger has locked the owner's row until the end of the transaction.
            cursor = await connection.execute(USAGE, [new.owner])
            quota.check(_to_usage(await cursor.fetchone()))
        return to_image(row)  # type: ignore[arg-type]

    @override
    async def register_all(self, new: Sequence[NewImage]) -> list[Image]:
        rows = await self.database.rows(REGISTER, *_columns(new))
        images = {row["uri"]: to_image(row) for row in rows}
        return [images[one.uri] for one in new]

    @override
    async def usage(self, owner: str) -> Usage:
        rows = await self.database.rows(USAGE, owner)
        return _to_usage(rows[0] if rows else None)

    @override
    async def get(self, image_id: int) -> Image:
        found = await self.by_ids([image_id])
        if image_id not in found:
            raise _not_found(image_id)
        return found[image_id]

    @override
    async def by_uri(self, uri: str) -> Image | None:
        rows = await self.database.rows(f"SELECT {COLUMNS} FROM images WHERE uri = %s", uri)  # noqa: S608
        return to_image(rows[0]) if rows else None

    @override
    async def by_uris(self, uris: Sequence[str]) -> dict[str, Image]:
        rows = await self.database.rows(f"SELECT {COLUMNS} FROM images WHERE uri = ANY(%s)", list(uris))  # noqa: S608
        return {row["uri"]: to_image(row) for row in rows}

    @override
    async def by_ids(self, image_ids: Sequence[int]) -> dict[int, Image]:
        rows = await self.database.rows(f"SELECT {COLUMNS} FROM images WHERE id = ANY(%s)", list(image_ids))  # noqa: S608
        return {row["id"]: to_image(row) for row in rows}

    @override
    async def describe(self, described: Sequence[ImageMetadata]) -> None:
        columns = [
            [one.image_id for one in described],
            [one.width for one in described],
            [one.height for one in described],
            [one.content_hash for one in described],
            [one.etag for one in described],
            [one.bytes for one in described],
            [one.phash.to_bytes(8, "big") for one in described],
            [one.colours or None for one in described],
        ]
        await self.database.rows(
            """WITH new AS (
              SELECT * FROM
                unnest(%s::bigint[], %s::int[], %s::int[], %s::bytea[], %s::text[], %s::bigint[], %s::bytea[],
                  %s::bytea[])
                AS new (id, width, height, content_hash, etag, bytes, phash, colours)
            ), there AS (
              UPDATE images SET width = new.width, height = new.height, content_hash = new.content_hash,
                etag = new.etag, bytes = COALESCE(NULLIF(new.bytes, 0), images.bytes)
              FROM new WHERE images.id = new.id RETURNING images.id, new.phash, new.colours
            )
            INSERT INTO image_hash (image_id, phash, colours) SELECT id, phash, colours FROM there
            ON CONFLICT (image_id) DO UPDATE SET phash = excluded.phash, colours = excluded.colours""",
            *columns,
        )

    @override
    async def without_colours(self, limit: int) -> list[Image]:
        rows = await self.database.rows(
            f"""SELECT {COLUMNS} FROM images JOIN image_hash ON image_id = id
            WHERE colours IS NULL AND status = 'indexed' LIMIT %s""",  # noqa: S608
            limit,
        )
        return [to_image(row) for row in rows]

    @override
    async def add_colours(self, colours: Mapping[int, bytes]) -> None:
        await self.database.rows(
            """UPDATE image_hash SET colours = new.colours
            FROM unnest(%s::bigint[], %s::bytea[]) AS new (id, colours)
            WHERE image_id = new.id AND image_hash.colours IS NULL""",
            *(list(colours), list(colours.values())),
        )

    @override
    async def contents(self, after: int, limit: int) -> list[ImageContent]:
        rows = await self.database.rows(
            """SELECT id, COALESCE(content_hash, '') AS content_hash, COALESCE(width, 0) AS width,
              COALESCE(height, 0) AS height, COALESCE(colours, '') AS colours
            FROM images LEFT JOIN image_hash ON image_id = id
            WHERE id > %s AND status = 'indexed' ORDER BY id LIMIT %s""",
            *(after, limit),
        )
        return [ImageContent(**row) for row in rows]

    @override
    async def mark_indexed(
        self, contents: Mapping[int, bytes], release: str, written: Sequence[Image] = ()
    ) -> list[int]:
        rows = await self.database.rows(
            """UPDATE images SET status = 'indexed', reason = NULL, indexed_at = now(), release = %s
            FROM unnest(%s::bigint[], %s::bytea[]) AS mine (id, content_hash)
            LEFT JOIN unnest(%s::bigint[], %s::text[], %s::text[]) AS written (id, source, visibility) USING (id)
            WHERE images.id = mine.id AND images.content_hash = mine.content_hash
              AND images.source = COALESCE(written.source, images.source)
              AND images.visibility = COALESCE(written.visibility, images.visibility) RETURNING images.id""",
            *(release, list(contents), list(contents.values())),
            *([one.id for one in written], [one.source for one in written], [one.visibility for one in written]),
        )
        return [row["id"] for row in rows]

    @override
    async def mark_rejected(self, image_id: int, reason: str, etag: str = "") -> None:
        await self.database.rows(
            "UPDATE images SET status = 'rejected', reason = %s, etag = %s WHERE id = %s", reason, etag, image_id
        )

    @override
    async def mark_pending(self, image_ids: Sequence[int]) -> list[Image]:
        rows = await self.database.rows(
            f"""UPDATE images SET status = 'pending', reason = NULL, promised_at = now()
            WHERE id = ANY(%s) RETURNING {COLUMNS}""",  # noqa: S608
            list(image_ids),
        )
        return [to_image(row) for row in rows]

    @override
    async def change(self, image_id: int, change: ImageChange) -> Image:
        rows = await self.database.rows(
            f"""UPDATE images SET source = COALESCE(%s, source), visibility = COALESCE(%s, visibility),
              status = 'pending', reason = NULL, promised_at = now()
            WHERE id = %s RETURNING {COLUMNS}""",  # noqa: S608
            *(change.source, change.visibility, image_id),
        )
        if not rows:
            raise _not_found(image_id)
        return to_image(rows[0])

    @override
    async def after_uri(self, uri: str, limit: int) -> list[Image]:
        query = f"SELECT {COLUMNS} FROM images WHERE uri > %s ORDER BY uri LIMIT %s"  # noqa: S608
        return [to_image(row) for row in await self.database.rows(query, uri, limit)]

    @override
    async def after_id(self, image_id: int, limit: int) -> list[Image]:
        query = f"SELECT {COLUMNS} FROM images WHERE id > %s AND status = 'indexed' ORDER BY id LIMIT %s"  # noqa: S608
        return [to_image(row) for row in await self.database.rows(query, image_id, limit)]

    @override
    async def page(self, selection: ImageSelection, after: int, limit: int) -> ImagePage:
        owners = None if selection.owners is None else sorted(selection.owners)
        rows = await self.database.rows(
            f"""WITH scanned AS (SELECT {COLUMNS} FROM images WHERE id > %s ORDER BY id LIMIT %s),
            owned AS (SELECT *, %s::text[] IS NULL OR owner = ANY(%s::text[]) AS own FROM scanned),
            page AS (
              SELECT * FROM owned
              WHERE (own OR visibility = 'public' AND id <> ALL(%s::bigint[]) AND source <> ALL(%s::text[]))
                AND (%s = '' OR status = %s) AND (%s = '' OR source = %s) AND uri ^@ %s
                AND (%s::text IS NULL OR owner = %s)
              ORDER BY id LIMIT %s
            )
            SELECT (SELECT max(id) FROM scanned) AS last, (SELECT count(*) FROM scanned) AS scanned, {COLUMNS}
            FROM (VALUES (true)) AS once LEFT JOIN page ON true ORDER BY id""",  # noqa: S608
            *(after, SCANNED, owners, owners, list(selection.blocked_ids), list(selection.blocked_sources)),
            *(selection.status or "", selection.status or "", selection.source, selection.source),
            *(selection.prefix, selection.owner, selection.owner, limit),
        )
        (last, scanned), *_ = [(row.pop("last"), row.pop("scanned")) for row in rows]
        images = [to_image(row) for row in rows if row["id"] is not None]
        if len(images) == limit:
            return ImagePage(images, images[-1].id)
        return ImagePage(images, last if scanned == SCANNED else None)

    @override
    async def hashes(self, after: int, limit: int) -> list[tuple[int, int]]:
        rows = await self.database.rows(
            """SELECT id, phash FROM images JOIN image_hash ON image_id = id
            WHERE id > %s AND status = 'indexed' ORDER BY id LIMIT %s""",
            *(after, limit),
        )
        return [(row["id"], int.from_bytes(row["phash"], "big")) for row in rows]

    @override
    async def hashes_of(self, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        rows = await self.database.rows(
            "SELECT image_id, phash FROM image_hash WHERE image_id = ANY(%s)", list(image_ids)
        )
        return [(row["image_id"], int.from_bytes(row["phash"], "big")) for row in rows]

    @override
    async def delete(self, image_id: int, *, finished: bool = False) -> str:
        rows = await self.database.rows(
            """WITH gone AS (DELETE FROM images WHERE id = %s RETURNING id, uri)
            INSERT INTO deletions (image_id, uri, done) SELECT id, uri, %s FROM gone
            ON CONFLICT (image_id) DO NOTHING RETURNING uri""",
            *(image_id, finished),
        )
        rows = rows or await self.database.rows("SELECT uri FROM deletions WHERE image_id = %s AND NOT done", image_id)
        if not rows:
            raise _not_found(image_id)
        uri: str = rows[0]["uri"]
        return uri

    @override
    async def delete_all(self, image_ids: Sequence[int]) -> dict[int, str]:
        rows = await self.database.rows(
            """WITH gone AS (DELETE FROM images WHERE id = ANY(%s) RETURNING id, uri),
            noted AS (INSERT INTO deletions (image_id, uri) SELECT id, uri FROM gone ON CONFLICT (image_id) DO NOTHING)
            SELECT id, uri FROM gone""",
            list(image_ids),
        )
        return {row["id"]: row["uri"] for row in rows}

    @override
    async def finish_deletion(self, image_id: int) -> None:
        await self.database.rows("UPDATE deletions SET done = true WHERE image_id = %s", image_id)

    @override
    async def unfinished_deletions(self, older_than_s: float, limit: int) -> list[tuple[int, str]]:
        rows = await self.database.rows(
            """SELECT image_id, uri FROM deletions WHERE NOT done AND deleted_at < now() - make_interval(secs => %s)
            ORDER BY deleted_at LIMIT %s""",
            *(older_than_s, limit),
        )
        return [(row["image_id"], row["uri"]) for row in rows]

    @override
    async def is_being_deleted(self, uri: str) -> bool:
        return bool(await self.database.rows("SELECT 1 FROM deletions WHERE uri = %s AND NOT done LIMIT 1", uri))

    @override
    async def is_deleted(self, uri: str) -> bool:
        rows = await self.database.rows(
            """SELECT 1 FROM deletions WHERE uri = %s
            AND NOT EXISTS (SELECT 1 FROM images WHERE images.uri = deletions.uri) LIMIT 1""",
            uri,
        )
        return bool(rows)

    @override
    async def waiting(self, older_than_s: float, limit: int) -> list[Image]:
        rows = await self.database.rows(
            f"""WITH late AS (
              SELECT id FROM images WHERE status = 'pending' AND promised_at < now() - make_interval(secs => %s)
              ORDER BY promised_at LIMIT %s FOR UPDATE SKIP LOCKED
            )
            UPDATE images SET promised_at = now() FROM late WHERE images.id = late.id
            RETURNING {", ".join(f"images.{column}" for column in COLUMNS.split(", "))}""",  # noqa: S608
            *(older_than_s, limit),
        )
        return sorted((to_image(row) for row in rows), key=lambda image: image.id)

    @override
    async def counts(self, visible_to: str | None = None) -> dict[Status, int]:
        rows = await self.database.rows(
            """SELECT status, count(*) AS number FROM images
            WHERE %s::text IS NULL OR visibility = 'public' OR owner = %s GROUP BY status""",
            *(visible_to, visible_to),
        )
        found = {row["status"]: row["number"] for row in rows}
        return {status: found.get(status, 0) for status in Status}

    @override
    async def allocate_query_ids(self, count: int) -> list[int]:
        rows = await self.database.rows("SELECT nextval('images_id_seq') AS id FROM generate_series(1, %s)", count)
        return [row["id"] for row in rows]

    @override
    async def was_issued(self, query_image_id: int) -> bool:
        rows = await self.database.rows(
            "SELECT %s BETWEEN 1 AND last_value AS issued FROM images_id_seq", query_image_id
        )
        issued: bool = rows[0]["issued"]
        return issued

    @override
    async def check(self) -> None:
        await self.database.check()

    @override
    async def close(self) -> None:
        await self.database.close()


def _not_found(image_id: int) -> NotFound:
    return NotFound(f"There is no image {image_id}: it was never accepted, or it has been deleted.")


def to_image(row: dict[str, Any]) -> Image:
    """Convert columns to an image."""
    return Image(**{**row, "status": Status(row["status"]), "visibility": Visibility(row["visibility"])})


def _columns(new: Sequence[NewImage]) -> list[list[Any]]:
    return [
        [one.uri for one in new],
        [one.source for one in new],
        [one.owner for one in new],
        [one.visibility for one in new],
        [one.content_hash for one in new],
        [one.etag for one in new],
        [one.bytes for one in new],
    ]


def _to_usage(row: dict[str, Any] | None) -> Usage:
    return Usage(**row) if row else Usage()
