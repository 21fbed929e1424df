"""Tells which files of a folder change, by the notifications of the operating system."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from watchfiles import awatch

from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

QUIET_S = 1.5
"""A file counts as written when it has not changed for so long."""
LOOK_EVERY_S = 0.25
STEP_MS, DEBOUNCE_MS = 50, 400
"""How long watchfiles collects changes before it reports them."""


class FolderWatch:
    """Watches a folder, its subfolders and linked folders, from when it is entered until it is left."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._changed: dict[Path, float] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._collect())
        await asyncio.sleep(0)  # the first step of the task registers the folder
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConfigurationError):
                await self._task

    async def quiet_paths(self) -> list[Path]:
        """Wait until files or folders have changed and then been quiet; return their paths, which may be gone.

        Raises ``ConfigurationError`` if the folder cannot be watched.
        """
        while True:
            if self._task is not None and self._task.done():
                self._task.result()
            before = self._clock() - QUIET_S
            quiet = [path for path, at in self._changed.items() if at <= before]
            if quiet:
                for path in quiet:
                    del self._changed[path]
                return quiet
            await asyncio.sleep(LOOK_EVERY_S)

    def put_back(self, paths: Iterable[Path]) -> None:
        """Return these paths, as changed now, again later."""
        self._changed |= dict.fromkeys(paths, self._clock())

    async def _collect(self) -> None:
        watching = awatch(
            self._root,
            watch_filter=None,
            step=STEP_MS,
            debounce=DEBOUNCE_MS,
            ignore_permission_denied=True,
        )
        try:
            async for changes in watching:
                self.put_back(Path(name) for _, name in changes)
        except (OSError, RuntimeError) as error:
            raise ConfigurationError(
                f"{self._root} cannot be watched: {error}. If it has very many folders, raise "
                "fs.inotify.max_user_watches; for a network file system, set WATCHFILES_FORCE_POLLING=1."
            ) from None
