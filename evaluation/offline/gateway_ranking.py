"""Rankings of an evaluation set from the running gateway, to evaluate approximate search too."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.progress import track

from evaluation.offline.exact_ranking import DEPTH, tidied
from visualsearch.domain.errors import InvalidInput, Unavailable
from visualsearch.domain.search import MAX_K, NearDuplicates

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evaluation.offline.sets import EvaluationSet
    from evaluation.offline.trec import Run
    from visualsearch.client import Client

PAUSES_S = (0.5, 1.0, 2.0)


def ranked(one: EvaluationSet, client: Client, depth: int = DEPTH) -> tuple[Run, dict[str, str]]:
    """Search the gateway with each query. Duplicates are not folded, because folding would hide judged pictures.

    Results are matched with the set's pictures by uri. Results outside the set are dropped from the rankings, so index
    the set's folder into a separate stack. Returns the ranking, and the reason for each refused query. Raises
    ``Unavailable`` if the gateway does not respond, and ``InvalidInput`` if it has no picture of the set.
    """
    names = by_file_name(one.corpus)
    run: Run = {}
    refused: dict[str, str] = {}
    strangers = 0
    for query, file in track(one.queries.items(), f"{one.name}: searching", transient=True):
        try:
            answer = _asked(client, file, depth)
        except InvalidInput as error:
            refused[query] = str(error)
            continue
        found = [(named(hit["uri"], names), hit["score"]) for hit in answer["results"]]
        run[query] = [(name, score) for name, score in found if name]
        strangers += len(found) - len(run[query])
    if strangers and not any(run.values()):
        raise InvalidInput(f"The gateway knows no picture of {one.name}; run `visualsearch index` on its folder first.")
    return tidied(run, one, depth), refused


def _asked(client: Client, file: Path, depth: int) -> dict[str, Any]:
    """Search, and retry if the gateway is overloaded, so that a short overload does not abort a long evaluation."""
    ask = partial(client.search, file, bbox=None, k=min(MAX_K, 2 * depth), near_duplicates=NearDuplicates.KEEP.value)
    for pause_s in PAUSES_S:
        with suppress(Unavailable):
            return ask()
        time.sleep(pause_s)
    return ask()


def by_file_name(corpus: Mapping[str, Path]) -> dict[str, list[tuple[str, str]]]:
    """Group names and file paths by file name, for looking up a uri."""
    names: dict[str, list[tuple[str, str]]] = {}
    for name, file in corpus.items():
        names.setdefault(file.name, []).append((name, file.resolve().as_posix()))
    return names


def named(uri: str, names: Mapping[str, list[tuple[str, str]]]) -> str:
    """Return the name of the file whose path shares the longest suffix with a uri; empty if no file name matches."""
    parts = uri.split("/")
    candidates = names.get(parts[-1], [])
    return max(candidates, key=lambda one: _shared(one[1].split("/"), parts), default=("", ""))[0]


def _shared(path: list[str], uri: list[str]) -> int:
    count = 0
    for left, right in zip(reversed(path), reversed(uri), strict=False):
        if left != right:
            break
        count += 1
    return count
