"""Judge an encoder: nDCG with grades 0 to 5, mAP and recall, each with its 95% interval."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from training import public, ranking
from training.embed import Embed, Prepare, onnx_embed, served
from training.fetch import DATA
from training.report import Report, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.sets import EvaluationSet

CACHE = Path("out/cache")
"""Prepared pixels of the public sets, about 1.5 GB."""


def on_set(
    one: EvaluationSet, embed: Embed, *, how: Prepare = served, pixels: Path | None = None
) -> tuple[Report, dict[str, str]]:
    """Search a set exactly and judge the ranking; also returns the reason for each picture that cannot be read."""
    run, skipped = ranking.exact(one, embed, how=how, cache=pixels)
    kept = one.without(skipped)
    return judge(run, kept.grades, kept.groups, relevant_from=kept.relevant_from), skipped


def on_public_sets(
    model: Path | bytes | Embed, names: Sequence[str] = (), *, data: Path = DATA, how: Prepare = served
) -> dict[str, Report]:
    """Judge an ONNX file, or a function from pixels to embeddings, on the public sets: a report by set.

    ``names`` picks of ``public.SETS``; all of them where it is empty. What is lacking under ``data`` is fetched.
    """
    embed = model if callable(model) else onnx_embed(model)
    return {name: on_set(_public(name, data), embed, how=how, pixels=CACHE)[0] for name in names or public.SETS}


@cache
def _public(name: str, data: Path) -> EvaluationSet:
    return public.SETS[name](data)
