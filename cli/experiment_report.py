"""What `visualsearch experiment report` prints."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from evaluation.online import experiment_analysis as judging
from evaluation.online.experiment_data import load
from evaluation.online.sample_ratio import ALARM

if TYPE_CHECKING:
    from rich.console import Console

    from evaluation.online.experiment_analysis import Contrast, Judged
    from visualsearch.settings import Settings


def judge(settings: Settings, name: str, alpha: float, pre_days: int) -> Judged:
    """Read and judge an experiment; raises what ``evaluation.online.experiment_data.load`` raises."""
    return judging.judge(load(settings, name, pre_days), alpha)


def as_json(judged: Judged) -> dict[str, Any]:
    """Return everything as JSON's types, with null for what has no number yet, and the verdict in words."""
    whole: dict[str, Any] = _finite(asdict(judged))
    return {**whole, "verdict": verdict(judged)}


def _finite(value: Any) -> Any:  # noqa: ANN401 - JSON's own types
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def verdict(judged: Judged) -> list[str]:
    """Say in sentences what the numbers mean."""
    if not judged.looks:
        return ["Nobody has searched in this experiment yet."]
    if judged.srm_p < ALARM:
        return [
            f"The variants have not the users that their weights say (p = {judged.srm_p:.2g}): something is wrong with "
            "assignment or recording, and no other number here means anything."
        ]
    last, control = judged.looks[-1], judged.variants[0]
    sentences = []
    for name, contrast in zip(judged.variants[1:], last.adjusted, strict=True):
        base = last.arms[0].ctr
        if contrast.p >= judged.alpha:
            sentences.append(f"{name}: no difference from {control} is shown yet (p = {contrast.p:.2g}).")
            continue
        which = "better" if contrast.difference > 0 else "worse"
        lift = f"; that is {contrast.difference / base:+.0%}" if base else ""
        sentences.append(f"{name} is {which} than {control}: CTR {_span(contrast)}{lift} (p = {contrast.p:.2g}).")
    return sentences


def show(judged: Judged, console: Console) -> None:
    """Print tables and the verdict."""
    if judged.looks:
        last = judged.looks[-1]
        level = f"{1 - judged.alpha:.0%}"
        arms = Table("variant", "users", "impressions", "clicks", "CTR", f"{level} at any time")
        for name, arm in zip(judged.variants, last.arms, strict=True):
            numbers = f"{arm.units:,}", f"{arm.shown:,}", f"{arm.clicks:,}", f"{arm.ctr:.4f}"
            arms.add_row(name, *numbers, f"{arm.low:.4f} to {arm.high:.4f}")
        contrasts = Table("variant", "CTR less control's", "p", "with CUPED", "p ", title_justify="left")
        for name, plain, better in zip(judged.variants[1:], last.contrasts, last.adjusted, strict=True):
            contrasts.add_row(name, _span(plain), f"{plain.p:.3g}", _span(better), f"{better.p:.3g}")
        console.print(arms)
        console.print(contrasts)
        console.print(
            f"{judged.name}, {judged.state}, {len(judged.looks)} days up to {last.day}. Users as weighted: "
            f"p = {judged.srm_p:.2g}. CUPED explains {last.explained:.0%} of the variance.",
            highlight=False,
        )
    for sentence in verdict(judged):
        console.print(sentence, highlight=False)


def _span(contrast: Contrast) -> str:
    return f"{contrast.difference:+.4f} ({contrast.low:+.4f} to {contrast.high:+.4f})"
