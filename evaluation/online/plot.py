"""Plot the CTR of the variants by day, with always-valid confidence intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from evaluation.online.experiment_analysis import Judged

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""The colours of Okabe and Ito, which colour-blind people can distinguish."""


def draw(judged: Judged, into: Path) -> None:
    """Write a PNG with the CTR of each variant above, and the difference from the control after CUPED below.

    Raises ``InvalidInput`` if there is nothing to draw.
    """
    if not judged.looks:
        raise InvalidInput(f"There is nothing to draw: nobody has searched in experiment {judged.name} yet.")
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    _bands(above, judged)
    _differences(below, judged)
    figure.suptitle(f"{judged.name}: {1 - judged.alpha:.0%} confidence sequences, valid at every look together")
    into.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(into, dpi=120)


def _span(axes: Axes, days: Sequence[int], low: Sequence[float], high: Sequence[float], colour: str) -> None:
    """Draw an interval by day, even for a single day."""
    axes.fill_between(days, low, high, color=colour, alpha=0.15)
    axes.vlines(days, low, high, color=colour, alpha=0.3)


def _bands(axes: Axes, judged: Judged) -> None:
    days = range(1, len(judged.looks) + 1)
    for place, (name, colour) in enumerate(zip(judged.variants, COLOURS * 2, strict=False)):
        arms = [look.arms[place] for look in judged.looks]
        axes.plot(days, [arm.ctr for arm in arms], color=colour, label=name, marker="o", markersize=3)
        _span(axes, days, [arm.low for arm in arms], [arm.high for arm in arms], colour)
    ctrs = [arm.ctr for look in judged.looks for arm in look.arms if arm.ctr == arm.ctr]
    axes.set_ylim(0, 2.5 * max(ctrs, default=1) or 1)
    axes.set_ylabel("CTR up to that day")
    axes.legend()
    axes.grid(alpha=0.3)


def _differences(axes: Axes, judged: Judged) -> None:
    days = range(1, len(judged.looks) + 1)
    axes.axhline(0, color="black", linewidth=0.8)
    for place, (name, colour) in enumerate(zip(judged.variants[1:], COLOURS[1:] * 2, strict=False)):
        found = [look.adjusted[place] for look in judged.looks]
        axes.plot(days, [one.difference for one in found], color=colour, label=name, marker="o", markersize=3)
        _span(axes, days, [one.low for one in found], [one.high for one in found], colour)
    last = max((abs(one.difference) for look in judged.looks[-1:] for one in look.adjusted), default=0) or 0.01
    axes.set_ylim(-4 * last, 4 * last)
    axes.set_ylabel(f"CTR less {judged.variants[0]}'s, with CUPED")
    axes.set_xlabel("day")
    axes.set_xlim(0.5, len(judged.looks) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    axes.grid(alpha=0.3)
