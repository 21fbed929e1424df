"""The vector collections, in Milvus."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import yaml
from pymilvus import MilvusClient, MilvusException
from typing_extensions import override

from visualsearch.adapters.milvus.connection import Connection, client_options
from visualsearch.adapters.milvus.rows import (
    SCALARS,
    column,
    expression,
    from_fields,
    profile_named,
    schema,
    to_fields,
    vectors_of,
)
from visualsearch.domain.errors import NotFound, Unavailable
from visualsearch.domain.images import EMBEDDING_DIM
from visualsearch.domain.search import MAX_CANDIDATES, Candidates, Filter, VectorRow
from visualsearch.ports import Vectors
from visualsearch.tls import Renewed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pymilvus import AsyncMilvusClient

    from visualsearch.tls import ClientTLS

ALL_LISTS = 65_536
"""The highest nprobe that Milvus accepts. It searches every list."""
CREATE_S = 120.0
"""Timeout of creating a collection. Milvus accepts index types that this server cannot build, and they never finish."""
SEAL_S = 600.0
"""Timeout of building an index: a segment of a million rows takes minutes on two cores."""
RECOUNT_S = 30.0
"""How long to wait before flushing again. Milvus takes seconds to load a sealed segment, and limits how often a
collection may be flushed (about once in ten seconds)."""
UNKNOWN_COLLECTION = 100
SEALED = "Sealed"
LEAST_INDEXED = 1024
"""Milvus builds no index for a segment of fewer rows."""
WIDER = 4
"""Factor by which a search is widened if all rows found are copies of one picture."""
INDEX_PARAMS = {"nprobe", "ef"}
"""The search parameters of a release that Milvus itself takes."""


class MilvusVectors(Vectors):
    """Collections of embeddings, one per release. A search sees every row that was settled before it started.

    ``config`` is the path of collection.yaml. ``tls`` is used if ``uri`` begins with https://. Every call ends within
    ``timeout_s`` seconds or raises ``Unavailable``.
    """

    def __init__(
        self, uri: str, user: str, password: str, config: Path, timeout_s: float, tls: ClientTLS | None = None
    ) -> None:
        options = self._options = client_options(uri, user, password, timeout_s, tls)
        self._connection = Renewed(lambda: Connection(options), Connection.close, tls)
        self._timeout_s = timeout_s
        self._config = yaml.safe_load(config.read_text())

    @property
    def shards(self) -> int:
        """Number of shards of a collection."""
        return int(self._config["shards"])

    @override
    def search_params(self, profile: str) -> dict[str, int]:
        return dict(profile_named(self._config["profiles"], profile)["search"])

    def index_params(self, profile: str) -> dict[str, int]:
        """Return the index parameters of a profile, such as nlist; raises what ``search_params`` raises."""
        return dict(profile_named(self._config["profiles"], profile)["index"]["params"])

    @override
    async def create(self, collection: str, profile: str) -> None:
        index = MilvusClient.prepare_index_params()
        how = profile_named(self._config["profiles"], profile)["index"]
        index.add_index("embedding", metric_type=self._config["schema"]["metric"], **how)

        async def run(client: AsyncMilvusClient) -> None:
            if not await client.has_collection(collection):
                await client.create_collection(
                    collection, schema=schema(self._config["schema"]), num_shards=self._config["shards"]
                )
            if not await client.list_indexes(collection):
                await client.create_index(collection, index)
            await client.load_collection(collection)

        await self._call(run, CREATE_S)

    @override
    async def drop(self, collection: str) -> None:
        async def run(client: AsyncMilvusClient) -> None:
            if await client.has_collection(collection):
                for alias in await client.list_aliases(collection):
                    await client.drop_alias(alias)
                await client.drop_collection(collection)

        await self._call(run, CREATE_S)

    @override
    async def seal(self, collection: str) -> None:
        """Wait until everything written before this call is on disk, and indexed if its segment is large enough.

        The index is in use when this returns. Raises ``Unavailable`` after ten minutes, because an index of a type that
        the server cannot build never finishes.
        """

        async def run(client: AsyncMilvusClient) -> None:
            # Check the segments themselves. The index' own count of pending rows includes segments that were merged
            # into others.
            while not await self._flushed(client, collection):
                pass
            while not await asyncio.to_thread(self._indexed, collection):  # noqa: ASYNC110 - Milvus sends no notification
                await asyncio.sleep(0.5)

        await self._call(run, SEAL_S)

    async def _flushed(self, client: AsyncMilvusClient, collection: str) -> bool:
        """Flush, and return whether the sealed segments contain as many rows as the collection had.

        They do not if rows are deleted or replaced meanwhile, because a merge removes those.
        """
        rows = await self.count(collection)
        await client.flush(collection)
        end = time.monotonic() + RECOUNT_S
        while time.monotonic() < end:
            sealed = await asyncio.to_thread(self._sealed, collection)
            if sealed is None or sum(one.num_rows for one in sealed) >= rows:
                return True
            await asyncio.sleep(0.5)
        return False

    def _indexed(self, collection: str) -> bool:
        """Return whether every sealed segment that is large enough uses its index."""
        return all(one.index_name for one in self._sealed(collection) or [] if one.num_rows >= LEAST_INDEXED)

    def _sealed(self, collection: str) -> list[Any] | None:
        """Return the loaded sealed segments; None if the server has no segments. Only the blocking client can ask."""
        client = MilvusClient(**self._options)
        try:
            segments = client.list_loaded_segments(collection)
        except (MilvusException, grpc.RpcError) as error:
            if "unimplemented" in str(error).lower():  # milvus-lite has no segments
                return None
            raise
        finally:
            client.close()
        return [one for one in segments if one.state_name == SEALED]

    @override
    async def point_alias(self, alias: str, collection: str) -> None:
        async def run(client: AsyncMilvusClient) -> None:
            for other in await client.list_collections():
                if alias in await client.list_aliases(other):
                    await client.alter_alias(collection, alias)
                    return
            await client.create_alias(collection, alias)

        await self._call(run, CREATE_S)

    @override
    async def aliased(self) -> dict[str, str]:
        async def run(client: AsyncMilvusClient) -> dict[str, str]:
            names = await client.list_collections()
            return {alias: name for name in names for alias in await client.list_aliases(name)}

        found: dict[str, str] = await self._call(run)
        return found

    @override
    async def drop_alias(self, alias: str) -> None:
        await self._call(lambda client: client.drop_alias(alias), CREATE_S)

    @override
    async def nearest(
        self,
        collection: str,
        embedding: NDArray[np.float32],
        count: int,
        search_params: Mapping[str, int],
        where: Filter,
    ) -> Candidates:
        count = min(count, MAX_CANDIDATES)
        params = {name: value for name, value in search_params.items() if name in INDEX_PARAMS}
        found = await self._search(collection, embedding, count, params, where)
        if len(found.ids) < count:
            return await self._the_rest(found, collection, embedding, count, params, where)
        while found.scores[0] == found.scores[-1] and len(found.ids) < MAX_CANDIDATES:
            # All rows are copies of one picture. Which of them were returned is arbitrary unless all are.
            asked = min(WIDER * len(found.ids), MAX_CANDIDATES)
            wider = await self._search(collection, embedding, asked, params, where)
            if len(wider.ids) <= len(found.ids):
                break
            found = wider
        return _first(found, count)

    async def _the_rest(
        self,
        found: Candidates,
        collection: str,
        embedding: NDArray[np.float32],
        count: int,
        params: dict[str, int],
        where: Filter,
    ) -> Candidates:
        """Search every list if the probed ones hold too few rows, and set ``exhausted`` if no more rows exist.

        An index may not return every row: a graph may not reach it, and a temporary index of unindexed rows probes only
        some of its lists. The result is therefore compared with a count.
        """
        passing = await self._count(collection, expression(where), "Bounded")
        if len(found.ids) < passing and "nprobe" in params:
            found = await self._search(collection, embedding, count, params | {"nprobe": ALL_LISTS}, where)
        return replace(found, exhausted=len(found.ids) >= passing)

    async def _search(
        self, collection: str, embedding: NDArray[np.float32], count: int, params: dict[str, int], where: Filter
    ) -> Candidates:
        if "ef" in params:
            params = params | {"ef": max(params["ef"], count)}
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
        # Row by row: a matrix product may add up equal rows in different orders, which would break ties.
        raw = vectors_of(hits)
        exact = np.clip(np.einsum("ij,j->i", raw, embedding), -1, 1)
        order = np.lexsort((ids, -exact))
        hashes = [column(hits, name)[order] for name in SCALARS]
        rescore_ms = (time.perf_counter() - begin) * 1000
        return Candidates(
            ids[order], exact[order], hashes[0], hashes[1], count == MAX_CANDIDATES, rescore_ms, raw[order]
        )

    @override
    async def upsert(self, collection: str, rows: Sequence[VectorRow]) -> None:
        latest = {one.image_id: to_fields(one) for one in rows}
        if latest:
            await self._call(lambda client: client.upsert(collection, list(latest.values())))

    @override
    async def settle(self, collection: str) -> None:
        await self._call(
            lambda client: client.query(
                collection, filter="id in [0]", output_fields=["id"], limit=1, consistency_level="Strong"
            )
        )

    @override
    async def delete(self, collection: str, image_ids: Sequence[int]) -> None:
        if image_ids:
            await self._call(lambda client: client.delete(collection, ids=list(image_ids)))

    @override
    async def fetch(self, collection: str, image_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
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

    @override
    async def hashes(self, collection: str) -> AsyncIterator[list[tuple[int, int]]]:
        last = -1
        while True:
            after = last
            rows = await self._call(
                lambda client, after=after: client.query(  # type: ignore[misc]
                    collection,
                    filter=f"id > {after}",
                    output_fields=["id", "phash"],
                    limit=MAX_CANDIDATES,
                    consistency_level="Strong",
                )
            )
            if not rows:
                return
            # A query returns the smallest ids after the last page, in no particular order.
            page = sorted((row["id"], row["phash"] % 2**64) for row in rows)
            last = page[-1][0]
            yield page

    @override
    async def hashes_of(self, collection: str, image_ids: Sequence[int]) -> list[tuple[int, int]]:
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

    @override
    async def page(self, collection: str, after: int, limit: int) -> list[VectorRow]:
        found = await self._call(
            lambda client: client.query(
                collection,
                filter=f"id > {after}",
                output_fields=["id", "embedding", *SCALARS, "source", "owner", "private", "min_side"],
                limit=limit,
                consistency_level="Strong",
            )
        )
        return sorted(map(from_fields, found), key=lambda one: one.image_id)

    @override
    async def count(self, collection: str) -> int:
        return await self._count(collection, "", "Strong")

    async def _count(self, collection: str, filter_: str, consistency: str) -> int:
        rows = await self._call(
            lambda client: client.query(
                collection, filter=filter_, output_fields=["count(*)"], consistency_level=consistency
            )
        )
        number: int = rows[0]["count(*)"]
        return number

    @override
    async def collections(self) -> list[str]:
        names: list[str] = await self._call(lambda client: client.list_collections())
        return names

    @override
    async def check(self, collection: str) -> None:
        probe = np.full(EMBEDDING_DIM, EMBEDDING_DIM**-0.5, np.float32)
        await self._search(collection, probe, 1, {}, Filter())

    @override
    async def close(self) -> None:
        await self._connection.close()

    async def _call(self, work: Callable[[AsyncMilvusClient], Awaitable[Any]], limit_s: float | None = None) -> Any:  # noqa: ANN401
        """Run work on the client under a deadline; translate Milvus' errors."""
        try:
            async with asyncio.timeout(limit_s or self._timeout_s):
                return await work(await self._connection.get().client())
        except MilvusException as error:
            if error.code == UNKNOWN_COLLECTION or "can't find collection" in str(error):
                raise NotFound(f"Milvus knows no such collection: {error.message}") from None
            raise Unavailable("Milvus", str(error.message)[:200]) from None
        except TimeoutError:
            raise Unavailable("Milvus", f"no answer within {limit_s or self._timeout_s:g} s") from None
        except (grpc.RpcError, ValueError) as error:
            raise Unavailable("Milvus", str(error)[:200]) from None


def _first(found: Candidates, count: int) -> Candidates:
    """Return the best ``count`` of the candidates."""
    if len(found.ids) <= count:
        return found
    return replace(
        found,
        ids=found.ids[:count],
        scores=found.scores[:count],
        phashes=found.phashes[:count],
        phashes_mirrored=found.phashes_mirrored[:count],
        exhausted=False,
        embeddings=None if found.embeddings is None else found.embeddings[:count],
    )
