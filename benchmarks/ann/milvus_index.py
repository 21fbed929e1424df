"""Milvus through our adapter, on the running stack. Collections are kept between runs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np
from pymilvus import MilvusClient
from rich.progress import track

from benchmarks.local_stack import stack_settings
from visualsearch.adapters.milvus.vectors import MilvusVectors
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.search import Filter, VectorRow

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from numpy.typing import NDArray

    from benchmarks.ann.data import Set

AT_ONCE = 2000
TIMEOUT_S = 60.0
PATIENCE = 6
"""Number of waits for an index, ten minutes each."""


class ServedIndex:
    """A collection with an index profile of milvus/collection.yaml, or with a modified profile."""

    def __init__(self, one: Set, profile: str) -> None:
        settings = stack_settings()
        password = settings.milvus_password.get_secret_value()
        self._loop = asyncio.new_event_loop()
        self._vectors = MilvusVectors(
            settings.milvus_uri, settings.milvus_user, password, settings.collection_config, TIMEOUT_S
        )
        self._client = MilvusClient(settings.milvus_uri, user=settings.milvus_user, password=password)
        plain = profile.replace("/", "_").replace("=", "").replace(",", "_")
        self._collection = f"ann_{one.name}_{len(one.vectors)}_{plain}"
        self.seconds = self._filled(one, profile)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401
        return self._loop.run_until_complete(work)

    def _filled(self, one: Set, profile: str) -> float:
        """Insert the missing rows, and wait until searches use the index of every segment."""
        begin = time.perf_counter()
        if self._stale(profile):
            self._run(self._vectors.drop(self._collection))
        self._run(self._vectors.create(self._collection, profile))
        there = self._run(self._vectors.count(self._collection))
        for at in track(range(there, len(one.vectors), AT_ONCE), f"writing {self._collection}"):
            rows = [
                VectorRow(at + i, vector, at + i, at + i) for i, vector in enumerate(one.vectors[at : at + AT_ONCE])
            ]
            self._run(self._vectors.upsert(self._collection, rows))
        for attempt in range(PATIENCE):
            try:
                self._run(self._vectors.seal(self._collection))
                break
            except Unavailable:
                if attempt == PATIENCE - 1:
                    raise
        while not all(segment.index_name for segment in self._client.list_loaded_segments(self._collection)):
            time.sleep(0.5)
        return time.perf_counter() - begin

    def _stale(self, profile: str) -> bool:
        """Return whether the collection was created with a different profile."""
        wanted = {name: str(value) for name, value in self._vectors.index_params(profile).items()}
        there = self._client.list_indexes(self._collection) if self._client.has_collection(self._collection) else []
        return any(not wanted.items() <= self._client.describe_index(self._collection, name).items() for name in there)

    def by_codes(self, query: NDArray[np.float32], count: int, how: dict[str, int]) -> NDArray[np.int64]:
        """Return only ids, in the order of the index, by the same client."""
        params = {name: max(value, count) if name == "ef" else value for name, value in how.items()}

        async def search() -> NDArray[np.int64]:
            client = self._vectors._client
            answer = await client.search(
                self._collection,
                data=[query],
                limit=count,
                filter="private == false",
                search_params={"params": params},
                consistency_level="Bounded",
            )
            return np.array(answer[0].ids, np.int64)

        return self._run(search())

    def rescored(self, query: NDArray[np.float32], count: int, how: dict[str, int]) -> NDArray[np.float32]:
        """Return the exact scores of ``count`` candidates, best first, as a search of the gateway does."""
        return self._run(self._vectors.nearest(self._collection, query, count, how, Filter())).scores
