"""Protocols of a search: the encoder, the vector collections, and samples of their recall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from visualsearch.domain.recall import Recall
    from visualsearch.domain.search import Candidates, Filter, VectorRow


class Encoder(Protocol):
    """Turns pixels into embeddings."""

    async def encode(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        """Embed uint8 [n, 224, 224, 3] as float32 [n, 256] of unit length.

        Raises ``Overloaded`` when the server sheds the request.
        """
        ...

    async def feature_map(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        """Return the last feature maps of a few pictures, float32 [n, channels, rows, columns].

        Raises what ``encode`` raises, and ``Unsupported`` if the encoder has no such output.
        """
        ...

    async def check(self, model_version: int) -> None:
        """Run one tiny inference; raise ``Unavailable`` if it fails."""
        ...

    async def fingerprint(self, model_version: int) -> str:
        """Return the fingerprint of a loaded version's graph and preprocessing, or ``""`` if the server cannot tell."""
        ...

    async def duplicate_cosine(self, model_version: int) -> float | None:
        """Return the lowest cosine of near-duplicates by a version's model card, or None if it says none."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Vectors(Protocol):
    """Stores embeddings and finds the nearest ones."""

    def search_params(self, profile: str) -> dict[str, int]:
        """Return the search parameters of a profile. Raises ``ConfigurationError`` for an unknown one."""
        ...

    async def create(self, collection: str, profile: str) -> None:
        """Create and load a collection with an index profile of milvus/collection.yaml; no-op if it exists."""
        ...

    async def drop(self, collection: str) -> None:
        """Remove a collection with its rows and aliases; no-op if it does not exist."""
        ...

    async def seal(self, collection: str) -> None:
        """Wait until everything written before this call is on disk and indexed."""
        ...

    async def point_alias(self, alias: str, collection: str) -> None:
        """Point an alias to this collection, whatever it pointed to before."""
        ...

    async def aliased(self) -> dict[str, str]:
        """Return the collection of each alias."""
        ...

    async def drop_alias(self, alias: str) -> None:
        """Remove an alias; no-op if it does not exist."""
        ...

    async def nearest(
        self,
        collection: str,
        embedding: NDArray[np.float32],
        count: int,
        search_params: Mapping[str, int],
        where: Filter,
    ) -> Candidates:
        """Find up to ``count`` rows nearest to float32 [256], re-scored exactly, best first, ties by id.

        Raises ``NotFound`` if the collection does not exist.
        """
        ...

    async def upsert(self, collection: str, rows: Sequence[VectorRow]) -> None:
        """Write rows, replacing those of the same id."""
        ...

    async def settle(self, collection: str) -> None:
        """Wait until every later search sees everything written before this call."""
        ...

    async def delete(self, collection: str, image_ids: Sequence[int]) -> None:
        """Remove rows; unknown ids are ignored."""
        ...

    async def fetch(self, collection: str, image_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """Return embeddings by id, for those that exist."""
        ...

    def hashes(self, collection: str) -> AsyncIterator[list[tuple[int, int]]]:
        """Yield (id, pHash) of every row in pages, ids ascending."""
        ...

    async def hashes_of(self, collection: str, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Return (id, pHash) of these rows, for those that exist."""
        ...

    async def page(self, collection: str, after: int, limit: int) -> list[VectorRow]:
        """Return at most ``limit`` whole rows with the smallest ids above ``after``, ascending."""
        ...

    async def count(self, collection: str) -> int:
        """Return the exact number of rows."""
        ...

    async def collections(self) -> list[str]:
        """Return the names of all collections."""
        ...

    async def check(self, collection: str) -> None:
        """Run one real query; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class RecallRepository(Protocol):
    """Recall of live queries by release, and the releases' search parameters."""

    async def record(self, release: str, recall: Recall) -> None:
        """Record the recall of sampled queries."""
        ...

    async def since(self, seconds: float) -> dict[str, Recall]:
        """Return the sums of the last ``seconds`` by release; releases without a sampled query are missing."""
        ...

    async def search_with(self, release: str, search_params: Mapping[str, int]) -> None:
        """Set the search parameters of a release; raises ``NotFound``."""
        ...
