"""What a search needs: embeddings, the nearest of them, and a sample of how near they were."""

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

        Raises as ``encode``, and ``Unsupported`` where the encoder gives none.
        """
        ...

    async def check(self, model_version: int) -> None:
        """Run one tiny inference; raise ``Unavailable`` if it fails."""
        ...

    async def fingerprint(self, model_version: int) -> str:
        """Say which graph and preprocessing a loaded version is, or ``""`` if the server cannot tell."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Vectors(Protocol):
    """Holds embeddings and finds the nearest."""

    def search_params(self, profile: str) -> dict[str, int]:
        """Return what a profile is searched with. Raises ``ConfigurationError`` for an unknown one."""
        ...

    async def create(self, collection: str, profile: str) -> None:
        """Create a collection with an index profile of milvus/collection.yaml and load it; no-op where it exists."""
        ...

    async def drop(self, collection: str) -> None:
        """Remove a collection with its rows and aliases; no-op where there is none."""
        ...

    async def seal(self, collection: str) -> None:
        """Wait until everything written before this call is on disk and indexed."""
        ...

    async def point_alias(self, alias: str, collection: str) -> None:
        """Let an alias name this collection, whatever it named before."""
        ...

    async def aliased(self) -> dict[str, str]:
        """Collections by the aliases that name them."""
        ...

    async def drop_alias(self, alias: str) -> None:
        """Let an alias name nothing; no-op where it does not."""
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

        Raises ``NotFound`` if there is no such collection.
        """
        ...

    async def upsert(self, collection: str, rows: Sequence[VectorRow]) -> None:
        """Write rows, replacing those of the same id."""
        ...

    async def settle(self, collection: str) -> None:
        """Wait until everything written before this call is seen by every search after it."""
        ...

    async def delete(self, collection: str, image_ids: Sequence[int]) -> None:
        """Remove rows; ids that are not there are ignored."""
        ...

    async def fetch(self, collection: str, image_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """Embeddings by id, for those that are there."""
        ...

    def hashes(self, collection: str) -> AsyncIterator[list[tuple[int, int]]]:
        """Every row's (id, pHash), ids ascending, in pages."""
        ...

    async def hashes_of(self, collection: str, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        """(id, pHash) of these rows, for those that are there."""
        ...

    async def page(self, collection: str, after: int, limit: int) -> list[VectorRow]:
        """Whole rows with the smallest ids past ``after``, ascending, at most ``limit``."""
        ...

    async def count(self, collection: str) -> int:
        """Number of rows, exactly."""
        ...

    async def collections(self) -> list[str]:
        """Names of all collections."""
        ...

    async def check(self, collection: str) -> None:
        """Run one real query; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class RecallRepository(Protocol):
    """Recall of live queries by release, and the parameters that releases search with."""

    async def record(self, release: str, recall: Recall) -> None:
        """Write down what queries came to."""
        ...

    async def since(self, seconds: float) -> dict[str, Recall]:
        """Return the sums of the last seconds, by release; one that answered no sampled query is not there."""
        ...

    async def search_with(self, release: str, search_params: Mapping[str, int]) -> None:
        """Let a release be searched with other parameters from now on; raises ``NotFound``."""
        ...
