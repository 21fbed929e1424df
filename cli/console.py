"""What every command shares: the console, JSON for programs, and work on the stores."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, TypeVar

import orjson
from rich.console import Console

from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from visualsearch.composition import Stores

PIPE_WIDTH = 200
"""Columns of output that goes to a pipe or a file: tables broken at 80 columns are hard to search."""
COMMAND_TIMEOUT_S = 30.0
"""A command can wait longer for a server than a request can."""

T = TypeVar("T")

out = Console() if sys.stdout.isatty() else Console(width=int(os.environ.get("COLUMNS") or PIPE_WIDTH))
err = Console(stderr=True)


def print_json(value: object) -> None:
    """Print a value as indented JSON, for programs."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def with_stores(work: Callable[[Stores], Awaitable[T]]) -> T:
    """Run work on the stores that the settings name."""
    from visualsearch.composition import open_stores
    from visualsearch.domain.search import Priority

    async def run() -> T:
        async with open_stores(Settings.load(), COMMAND_TIMEOUT_S, Priority.INDEXING) as stores:
            return await work(stores)

    return asyncio.run(run())
