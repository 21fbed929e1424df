"""Times the stages of a search."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from visualsearch.observability import tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True)
class StageTimer:
    """Milliseconds per stage. The times of a stage that runs several times are added up."""

    begin: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("decode", "embed", "ann", "rank"), 0.0))
    rescore_ms: float = 0.0

    @asynccontextmanager
    async def stage(self, name: str) -> AsyncIterator[None]:
        """Add the duration of the block to a stage."""
        begin = time.perf_counter()
        try:
            with tracing.span(name):
                yield
        finally:
            self.stages[name] += (time.perf_counter() - begin) * 1000

    @property
    def total(self) -> float:
        """Milliseconds since the start."""
        return (time.perf_counter() - self.begin) * 1000
