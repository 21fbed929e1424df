"""Judgements and rankings in TREC's plain-text formats, one entry per line.

A line of judgements (qrels) is ``query 0 document grade``; a line of a ranking (run) is
``query Q0 document rank score name``. Names contain no white space; white space in paths is percent-encoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from evaluation.offline.measures import MAX_GRADE
from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Grades = dict[str, dict[str, int]]
"""Grades by query, then by document."""
Run = dict[str, list[tuple[str, float]]]
"""Documents with scores by query, best first."""


def read_qrels(file: Path) -> Grades:
    """Read judgements. Raises ``InvalidInput`` with file and line of a malformed or duplicate entry."""
    grades: Grades = {}
    for where, (query, _, document, grade) in _lines(file, "query 0 document grade"):
        if not grade.isdecimal() or int(grade) > MAX_GRADE:
            raise InvalidInput(f"{where}: the grade {grade!r} must be a whole number from 0 to {MAX_GRADE}.")
        if document in grades.setdefault(query, {}):
            raise InvalidInput(f"{where}: {document} is judged a second time for the query {query}.")
        grades[query][document] = int(grade)
    if not grades:
        raise InvalidInput(f"{file} holds no judgement.")
    return grades


def read_run(file: Path) -> Run:
    """Read a ranking, ordered by score, ties by descending name, as in trec_eval. The rank field is ignored.

    Raises ``InvalidInput`` with file and line of a malformed or duplicate entry.
    """
    scores: dict[str, dict[str, float]] = {}
    for where, (query, _, document, _, text, _) in _lines(file, "query Q0 document rank score name"):
        try:
            score = float(text)
        except ValueError:
            raise InvalidInput(f"{where}: the score {text!r} must be a number.") from None
        if document in scores.setdefault(query, {}):
            raise InvalidInput(f"{where}: {document} is ranked a second time for the query {query}.")
        scores[query][document] = score
    return {query: ordered(found) for query, found in scores.items()}


def ordered(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Order documents as trec_eval does."""
    return sorted(scores.items(), key=lambda one: (one[1], one[0]), reverse=True)


def write_run(run: Mapping[str, Sequence[tuple[str, float]]], file: Path, name: str) -> None:
    """Write a ranking. Scores have nine digits, which represent float32 exactly."""
    lines = (
        f"{quote(query)} Q0 {quote(document)} {rank} {score:.9g} {quote(name)}\n"
        for query, found in run.items()
        for rank, (document, score) in enumerate(found, 1)
    )
    file.write_text("".join(lines))


def _lines(file: Path, form: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the location and the fields of each line."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}.") from None
    for number, line in enumerate(text.splitlines(), 1):
        fields = [unquote(one) for one in line.split()]
        if fields and len(fields) != len(form.split()):
            raise InvalidInput(f"{file}, line {number}: it must be `{form}`, but has {len(fields)} fields.")
        if fields:
            yield f"{file}, line {number}", fields
