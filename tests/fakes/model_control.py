"""The loaded versions of a model server, in memory."""

from __future__ import annotations

from visualsearch.domain.errors import ConfigurationError, Unavailable


class FakeModelControl:
    """Versions in ``broken`` fail to load. While ``down`` is set, every call raises ``Unavailable``."""

    def __init__(self, *loaded: int) -> None:
        self.loaded = set(loaded or (1,))
        self.broken: set[int] = set()
        self.down = False

    async def served(self) -> set[int]:
        if self.down:
            raise Unavailable("Triton")
        return set(self.loaded)

    async def serve(self, versions: set[int]) -> None:
        await self.served()
        if versions & self.broken:
            raise ConfigurationError(f"Triton cannot load version {sorted(versions & self.broken)}: it is corrupt")
        self.loaded = set(versions)

    async def close(self) -> None:
        """Do nothing."""
