"""Record loss and retrieval over a run as TensorBoard events and one PNG."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from torch.utils.tensorboard import SummaryWriter

if TYPE_CHECKING:
    from pathlib import Path

LOSS, RETRIEVAL = "loss", "recall@1"


class Curves:
    """Figures by name and step. On resuming, figures of the interrupted run are kept up to the first new step."""

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._picture = folder / "curves.jsonl", folder / "curves.png"
        old = (
            [json.loads(line) for line in self._file.read_text().splitlines()] if step and self._file.is_file() else []
        )
        self._rows = [row for row in old if row["step"] <= step]
        self._file.write_text("".join(json.dumps(row) + "\n" for row in self._rows))
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def add(self, step: int, **figures: float) -> None:
        """Record the figures of a step."""
        self._rows.append({"step": step, **figures})
        with self._file.open("a") as stream:
            stream.write(json.dumps(self._rows[-1]) + "\n")
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)

    def draw(self) -> None:
        """Redraw the PNG."""
        series: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for row in self._rows:
            for name, value in row.items():
                if name != "step":
                    series[name].append((row["step"], value))
        figure, panels = plt.subplots(1, 2, figsize=(10, 4))
        for name, points in series.items():
            panel = panels[1] if name.startswith(RETRIEVAL) else panels[0]
            if name != "lr":
                panel.plot(*zip(*points, strict=True), label=name)
        for panel, title in zip(panels, (LOSS, RETRIEVAL), strict=True):
            panel.set(title=title, xlabel="step")
            panel.legend()
        figure.tight_layout()
        figure.savefig(self._picture)
        plt.close(figure)

    def close(self) -> None:
        """Flush buffered events and close the files."""
        self._events.close()
