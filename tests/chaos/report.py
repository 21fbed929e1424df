"""Report the test: a live table on the terminal, the same table as Markdown, and a timeline as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from tests.chaos.load import TIMEOUT_S, Search, Upload

HEADING = ("fault", "s until search answered", "s until indexing went on", "accepted", "indexed", "rejected", "lost")


@dataclass(slots=True)
class Window:
    """A fault and the time until the next one. The first window has no fault.

    Durations are None until the event happens. None after ``watched`` is set means that it did not happen in time.
    """

    name: str
    begun: float
    ended: float = math.inf
    search_s: float | None = None
    indexing_s: float | None = None
    watched: bool = False

    def row(self, uploads: Sequence[Upload], fates: dict[int, str] | None) -> tuple[str, ...]:
        """Return the cells under ``HEADING``. The outcome of the uploads is a dash until ``fates`` are known."""
        ids = [one.image_id for one in uploads if one.image_id and self.begun <= one.begun < self.ended]
        cells = (self.name, *map(self._seconds, (self.search_s, self.indexing_s)), str(len(ids)))
        if fates is None:
            return (*cells, "-", "-", "-")
        indexed, rejected = (sum(fates[one] == fate for one in ids) for fate in ("indexed", "rejected"))
        return (*cells, str(indexed), str(rejected), str(len(ids) - indexed - rejected))

    def _seconds(self, value: float | None) -> str:
        if value is not None:
            return f"{value:.1f}"
        return "never" if self.watched else "-"


class Board:
    """The live table, and below it the current step. Without a terminal, one line per step."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._rows: list[tuple[str, ...]] = []
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Board:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str, passing: bool = False) -> None:
        """Show the current step. ``passing`` texts are not logged."""
        if self._console.is_terminal:
            self._live.update(Group(self._table(), text), refresh=True)
        elif not passing:
            self._console.print(text, highlight=False)

    def show(self, rows: list[tuple[str, ...]], text: str) -> None:
        self._rows = rows
        self.say(text)
        if not self._console.is_terminal and rows:
            self._console.print("  " + "; ".join(map(" ".join, zip(HEADING, rows[-1], strict=True))), highlight=False)

    def finish(self, rows: list[tuple[str, ...]], text: str) -> None:
        self._rows = rows
        self._live.update(Group(self._table(), text), refresh=True)

    def _table(self) -> Table:
        table = Table(title=f"{len(self._rows)} of {self._total} faults")
        for number, heading in enumerate(HEADING):
            table.add_column(heading, justify="right" if number else "left")
        for row in self._rows:
            table.add_row(*row)
        return table


WIDTH, LEFT, RIGHT, TOP, PLOT, STRIP = 1800, 70, 20, 110, 360, 26
GOOD, BAD, GREY, BLACK = (46, 125, 80), (200, 40, 40), (205, 205, 205), (40, 40, 40)
COLOURS = {"accepted": GOOD, "refused": BAD, "unknown": (230, 150, 30)}
LOWEST_S = 0.01


def timeline(
    file: Path, searches: Sequence[Search], uploads: Sequence[Upload], windows: Sequence[Window], end: float
) -> None:
    """Draw the duration of every search (red if it failed), the outcome of every upload, and a mark at each fault."""
    begin = windows[0].begun
    sheet = Image.new("RGB", (WIDTH, TOP + PLOT + 2 * STRIP + 60), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    bottom = TOP + PLOT

    def across(moment: float) -> float:
        return LEFT + (moment - begin) / (end - begin) * (WIDTH - LEFT - RIGHT)

    def down(taken: float) -> float:
        share = math.log(max(LOWEST_S, min(taken, TIMEOUT_S)) / LOWEST_S) / math.log(TIMEOUT_S / LOWEST_S)
        return bottom - share * PLOT

    for taken in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0):
        draw.line((LEFT, down(taken), WIDTH - RIGHT, down(taken)), GREY)
        draw.text((LEFT - 8, down(taken)), f"{taken:g} s", BLACK, font, "rm")
    step = next(step for step in (10, 30, 60, 120, 300, 600) if (end - begin) / step <= 20 or step == 600)
    for second in range(0, int(end - begin) + 1, step):
        draw.text((across(begin + second), bottom + 2 * STRIP + 8), f"{second} s", BLACK, font, "ma")
    for window in windows[1:]:
        place = across(window.begun)
        draw.line((place, TOP - 6, place, bottom + 2 * STRIP), BLACK)
        _upright(sheet, window.name, place, font)
    for search in searches:
        x, y = across(search.begun), down(search.ended - search.begun)
        draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), BAD if search.trouble else GOOD)
        if search.trouble:
            draw.line((x, bottom + 6, x, bottom + STRIP), BAD)
    for upload in uploads:
        x = across(upload.begun)
        draw.line((x, bottom + STRIP + 4, x, bottom + 2 * STRIP), COLOURS[upload.answer])
    draw.text((LEFT - 8, bottom + STRIP / 2 + 3), "failed", BLACK, font, "rm")
    draw.text((LEFT - 8, bottom + STRIP * 1.5 + 2), "uploads", BLACK, font, "rm")
    legend = (
        "Dots: searches by time taken (logarithmic), red where one failed. Uploads: green accepted, red refused, "
        "orange unanswered. Upright lines: faults."
    )
    draw.text((LEFT, bottom + 2 * STRIP + 34), legend, BLACK, font, "la")
    sheet.save(file, optimize=True)


def _upright(sheet: Image.Image, text: str, place: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
    """Write vertical text that begins at a mark."""
    _, _, width, height = font.getbbox(text)
    label = Image.new("L", (int(width) + 2, int(height) + 4))
    ImageDraw.Draw(label).text((0, 0), text, 255, font)
    turned = label.rotate(90, expand=True)
    sheet.paste(BLACK, (int(place) - turned.width // 2, TOP - 10 - turned.height), turned)
