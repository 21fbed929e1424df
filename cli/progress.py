"""Counts of finished work, for jobs of several steps whose totals may be unknown."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import TaskID


class ShowProgress(Protocol):
    """Shows how much of a step is done, and of how much if that is known."""

    def __call__(self, what: str, number: int, total: int | None = None) -> None:
        """Show it."""
        ...


class CountColumn(ProgressColumn):
    """A step's name and count."""

    def render(self, task: Task) -> Text:
        """Render them, with the total if it is known."""
        of = "" if task.total is None else f" of {task.total:,.0f}"
        return Text(f"{task.description}: {task.completed:,.0f}{of}")


@contextmanager
def counting(console: Console) -> Iterator[ShowProgress]:
    """Show the count of each kind of finished work."""
    tasks: dict[str, TaskID] = {}
    with Progress(CountColumn(), console=console) as bar:

        def show(what: str, number: int, total: int | None = None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=number)

        yield show
