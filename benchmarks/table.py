"""Result tables: Markdown files under results/, each with the command and the machine that produced it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Describe the machine of the measurements."""
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 2**30
    return (
        f"{cores} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def grid(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def write(
    name: str, title: str, command: str, heading: Sequence[str], rows: Sequence[Sequence[object]], note: str
) -> None:
    """Write ``results/<name>.md`` and print it."""
    lines = [f"# {title}", "", f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}.", ""]
    lines += [grid(heading, rows), "", note, ""]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join(lines))
    print("\n".join(lines))
