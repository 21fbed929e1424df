"""How long each stage of a search takes."""

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
    """Milliseconds per stage; a stage that runs twice counts twice."""

    begin: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("decode", "embed", "ann", "rank"), 0.0))
    rescore_ms: float = 0.0

    @asynccontextmanager
    async def stage(self, name: str) -> AsyncIterator[None]:
        """Measure what runs inside."""
        begin = time.perf_counter()
        try:
            with tracing.span(name):
                yield
        finally:
            self.stages[name] += (time.perf_counter() - begin) * 1000

    @property
    def total(self) -> float:
        """Milliseconds since the beginning."""
        return (time.perf_counter() - self.begin) * 1000
