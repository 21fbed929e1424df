"""The vector collections, in Milvus."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import yaml
from pymilvus import AsyncMilvusClient, DataType, MilvusClient, MilvusException

from visualsearch.domain import EMBEDDING_DIM, Candidates, Filter, VectorRow, Visibility
from visualsearch.errors import ConfigurationError, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MAX_COUNT = 16_384
"""Milvus' own limit of rows in one answer."""
ALL_LISTS = 65_536
"""The highest nprobe that Milvus takes; it searches every list there is."""
CREATE_S = 120.0
"""An index of a type that this server cannot build is accepted and never finishes, so every wait is bounded."""
UNKNOWN_COLLECTION = 100
SCALARS = ["phash", "phash_mirrored"]


class MilvusVectors:
    """Collections of embeddings, one per release; searches see what was settled before they began.

    ``config`` is the path of collection.yaml. Every call ends within ``timeout_s`` seconds or raises ``Unavailable``.
    """

    def __init__(self, uri: str, user: str, password: str, config: Path, timeout_s: float) -> None:
        self._options: dict[str, Any] = {"uri": uri, "timeout": timeout_s}
        if password:
            self._options |= {"user": user, "password": password}
        self._timeout_s = timeout_s
        self._config = yaml.safe_load(config.read_text())
        self._client: AsyncMilvusClient | None = None

    def search_params(self, profile: str) -> dict[str, int]:
        """Return what a profile is searched with. Raises ``ConfigurationError`` for an unknown one."""
        return dict(self._profile(profile)["search"])

    def _profile(self, name: str) -> dict[str, Any]:
        profiles: dict[str, dict[str, Any]] = self._config["profiles"]
        if name not in profiles:
            raise ConfigurationError(f"There is no index profile {name!r}; there are: {', '.join(profiles)}.")
        return profiles[name]

    async def create(self, collection: str, profile: str) -> None:
        """Create a collection with an index profile and load it; no-op where it exists."""
        index = MilvusClient.prepare_index_params()
        index.add_index("embedding", metric_type=self._config["schema"]["metric"], **self._profile(profile)["index"])

        async def run(client: AsyncMilvusClient) -> None:
            if not await client.has_collection(collection):
                await client.create_collection(
                    collection, schema=self._schema(), index_params=index, num_shards=self._config["shards"]
                )
            await client.load_collection(collection)

        await self._call(run, CREATE_S)

    def _schema(self) -> Any:  # noqa: ANN401 - pymilvus has no types
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=self._config["schema"]["dim"])
        for name in SCALARS:
            schema.add_field(name, DataType.INT64)
        for name in ("source", "owner"):
            schema.add_field(name, DataType.VARCHAR, max_length=4 * self._config["schema"]["max_text"])
        schema.add_field("private", DataType.BOOL)
        schema.add_field("min_side", DataType.INT32)
        return schema

    async def drop(self, collection: str) -> None:
        """Remove a collection with its rows and aliases; no-op where there is none."""

        async def run(client: AsyncMilvusClient) -> None:
            if await client.has_collection(collection):
                for alias in await client.list_aliases(collection):
                    await client.drop_alias(alias)
                await client.drop_collection(collection)

        await self._call(run, CREATE_S)

    async def seal(self, collection: str) -> None:
        """Wait until everything written before this call is on disk and, where a segment is large enough, indexed.

        Raises ``Unavailable`` after two minutes: an index of a type that the server cannot build never finishes.
        """

        async def run(client: AsyncMilvusClient) -> None:
            await client.flush(collection)
            while (await client.describe_index(collection, "embedding"))["pending_index_rows"]:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.5)

        await self._call(run, CREATE_S)

    async def point_alias(self, alias: str, collection: str) -> None:
        """Let an alias name this collection, whatever it named before."""

        async def run(client: AsyncMilvusClient) -> None:
            for other in await client.list_collections():
                if alias in await client.list_aliases(other):
                    await client.alter_alias(collection, alias)
                    return
            await client.create_alias(collection, alias)

        await self._call(run, CREATE_S)

    async def nearest(
        self,
        collection: str,
        embedding: NDArray[np.float32],
        count: int,
        search_params: Mapping[str, int],
        where: Filter,
    ) -> Candidates:
        """Find up to ``count`` rows nearest to float32 [256], re-scored exactly, best first, ties by id."""
        count = min(count, MAX_COUNT)
        params = dict(search_params)
        if "ef" in params:
            params["ef"] = max(params["ef"], count)
        found = await self._search(collection, embedding, count, params, where)
        if len(found.ids) < count and "nprobe" in params:
            # The lists that were probed hold no more: only now look into all of them.
            params["nprobe"] = ALL_LISTS
            found = await self._search(collection, embedding, count, params, where)
        return found

    async def _search(
        self, collection: str, embedding: NDArray[np.float32], count: int, params: dict[str, int], where: Filter
    ) -> Candidates:
        answer = await self._call(
            lambda client: client.search(
                collection,
                data=[embedding],
                limit=count,
                filter=expression(where),
                output_fields=["embedding", *SCALARS],
                search_params={"params": params},
                consistency_level="Bounded",
                timeout=self._timeout_s,
            )
        )
        begin = time.perf_counter()
        hits = answer[0]
        ids = np.array(hits.ids, np.int64)
        exact = np.clip(_raw_vectors(hits) @ embedding, -1, 1)
        hashes = [
            np.array([hit["entity"][name] for hit in map(hits.get_raw_item, range(len(ids)))]) for name in SCALARS
        ]
        order = np.lexsort((ids, -exact))
        columns = [column.astype(np.int64).view(np.uint64)[order] for column in hashes]
        exhausted = len(ids) < count or count == MAX_COUNT
        rescore_ms = (time.perf_counter() - begin) * 1000
        return Candidates(ids[order], exact[order], columns[0], columns[1], exhausted, rescore_ms)

    async def upsert(self, collection: str, rows: Sequence[VectorRow]) -> None:
        """Write rows, replacing those of the same id; of several with one id the last counts."""
        latest = {row.image_id: _fields(row) for row in rows}
        if latest:
            await self._call(lambda client: client.upsert(collection, list(latest.values())))

    async def settle(self, collection: str) -> None:
        """Wait until everything written before this call is seen by every search after it."""
        await self._call(
            lambda client: client.query(
                collection, filter="id in [0]", output_fields=["id"], limit=1, consistency_level="Strong"
            )
        )

    async def delete(self, collection: str, image_ids: Sequence[int]) -> None:
        """Remove rows; ids that are not there are ignored."""
        if image_ids:
            await self._call(lambda client: client.delete(collection, ids=list(image_ids)))

    async def fetch(self, collection: str, image_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """Embeddings, float32 [256], by id, for those that are there."""
        rows = await self._call(
            lambda client: client.query(
                collection,
                filter=f"id in {list(image_ids)}",
                output_fields=["embedding"],
                consistency_level="Bounded",
                limit=len(image_ids) or 1,
            )
        )
        return {row["id"]: np.array(row["embedding"], np.float32) for row in rows}

    async def hashes(self, collection: str) -> AsyncIterator[list[tuple[int, int]]]:
        """Every row's (id, pHash), ids ascending, in pages."""
        last = -1
        while True:
            after = last
            rows = await self._call(
                lambda client, after=after: client.query(  # type: ignore[misc]
                    collection,
                    filter=f"id > {after}",
                    output_fields=["id", "phash"],
                    limit=MAX_COUNT,
                    consistency_level="Strong",
                )
            )
            if not rows:
                return
            # A query's rows are the smallest ids past the last page, in no order.
            page = sorted((row["id"], row["phash"] % 2**64) for row in rows)
            last = page[-1][0]
            yield page

    async def hashes_of(self, collection: str, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        """(id, pHash) of these rows, for those that are there."""
        rows = await self._call(
            lambda client: client.query(
                collection,
                filter=f"id in {list(image_ids)}",
                output_fields=["id", "phash"],
                consistency_level="Strong",
                limit=len(image_ids) or 1,
            )
        )
        return [(row["id"], row["phash"] % 2**64) for row in rows]

    async def page(self, collection: str, after: int, limit: int) -> list[VectorRow]:
        """Whole rows with the smallest ids past ``after``, ascending, at most ``limit``."""
        found = await self._call(
            lambda client: client.query(
                collection,
                filter=f"id > {after}",
                output_fields=["id", "embedding", *SCALARS, "source", "owner", "private", "min_side"],
                limit=limit,
                consistency_level="Strong",
            )
        )
        return sorted(map(_row, found), key=lambda row: row.image_id)

    async def count(self, collection: str) -> int:
        """Number of rows, exactly."""
        rows = await self._call(
            lambda client: client.query(collection, filter="", output_fields=["count(*)"], consistency_level="Strong")
        )
        number: int = rows[0]["count(*)"]
        return number

    async def collections(self) -> list[str]:
        """Names of all collections."""
        names: list[str] = await self._call(lambda client: client.list_collections())
        return names

    async def check(self, collection: str) -> None:
        """Run one real search; raise ``Unavailable`` if it fails."""
        probe = np.full(EMBEDDING_DIM, EMBEDDING_DIM**-0.5, np.float32)
        await self._search(collection, probe, 1, {}, Filter())

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _call(self, work: Callable[[AsyncMilvusClient], Awaitable[Any]], limit_s: float | None = None) -> Any:  # noqa: ANN401
        """Run work on the client under a deadline, and turn Milvus' errors into ours."""
        try:
            async with asyncio.timeout(limit_s or self._timeout_s):
                if self._client is None:
                    self._client = AsyncMilvusClient(**self._options)
                return await work(self._client)
        except MilvusException as error:
            if error.code == UNKNOWN_COLLECTION or "can't find collection" in str(error):
                raise NotFound(f"Milvus knows no such collection: {error.message}") from None
            await self._start_afresh()
            raise Unavailable("Milvus", str(error.message)[:200]) from None
        except (TimeoutError, grpc.RpcError, ValueError) as error:
            await self._start_afresh()
            raise Unavailable("Milvus", str(error)[:200]) from None

    async def _start_afresh(self) -> None:
        """Drop the connection: a channel that has failed for a while tries again only after minutes."""
        try:
            async with asyncio.timeout(0.2):
                await self.close()
        except (TimeoutError, MilvusException, grpc.RpcError):
            self._client = None


def _raw_vectors(hits: Any) -> NDArray[np.float32]:  # noqa: ANN401 - pymilvus has no types
    """Return the hits' embeddings, float32 [n, 256], straight from the message.

    A packed field's numbers lie together at the end of the message, little-endian: reading them there takes 0.05 ms
    where going through Python's numbers takes 3 ms, during which the process does nothing else.
    """
    if not hits.ids:
        return np.empty((0, EMBEDDING_DIM), np.float32)
    vectors = hits.lazy_field_data[0].vectors.float_vector
    raw, count = vectors.SerializeToString(), len(vectors.data)
    rows = np.frombuffer(raw, "<f4", count, len(raw) - 4 * count).reshape(-1, EMBEDDING_DIM)
    return rows[hits.start : hits.start + len(hits.ids)]


def _fields(row: VectorRow) -> dict[str, Any]:
    return {
        "id": row.image_id,
        "embedding": row.embedding,
        "phash": _signed(row.phash),
        "phash_mirrored": _signed(row.phash_mirrored),
        "source": row.source,
        "owner": row.owner,
        "private": row.visibility is Visibility.PRIVATE,
        "min_side": row.min_side,
    }


def _row(fields: Mapping[str, Any]) -> VectorRow:
    return VectorRow(
        fields["id"],
        np.array(fields["embedding"], np.float32),
        fields["phash"] % 2**64,
        fields["phash_mirrored"] % 2**64,
        fields["source"],
        fields["owner"],
        Visibility.PRIVATE if fields["private"] else Visibility.PUBLIC,
        fields["min_side"],
    )


def _signed(number: int) -> int:
    """Milvus has no unsigned integers: the same 64 bits, read as two's complement."""
    return number - 2**64 if number >= 2**63 else number


def expression(where: Filter) -> str:
    """Write a filter in Milvus' language."""
    visible = f'(private == false or owner == "{_quoted(where.owner)}")' if where.owner else "private == false"
    parts = [visible]
    if where.blocked_sources:
        sources = ", ".join(f'"{_quoted(source)}"' for source in sorted(where.blocked_sources))
        parts.append(f"source not in [{sources}]")
    if where.blocked_ids:
        parts.append(f"id not in {sorted(where.blocked_ids)}")
    if where.min_side:
        parts.append(f"min_side >= {where.min_side}")
    return " and ".join(parts)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
