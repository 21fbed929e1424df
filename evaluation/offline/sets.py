"""Evaluation sets: queries, a corpus, and a relevance grade for each similar pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.offline.measures import MAX_GRADE
from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class EvaluationSet:
    """Queries and corpus as picture files by name, with relevance grades.

    If the queries are pictures of the corpus, each is left out of its own ranking.
    """

    name: str
    queries: Mapping[str, Path]
    corpus: Mapping[str, Path]
    grades: Mapping[str, Mapping[str, int]]
    """Grades 0 to 5 by query, then by corpus picture. Missing pictures have grade 0."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Group by query, such as a category. Reports also show figures for each group."""
    relevant_from: int = 1
    """Minimum grade of a picture that mAP and recall count as relevant."""

    @property
    def asks_itself(self) -> bool:
        """Whether every query is a picture of the corpus, under the same name."""
        return all(self.corpus.get(name) == file for name, file in self.queries.items())

    def without(self, skipped: Mapping[str, str]) -> EvaluationSet:
        """Return the set without the pictures of these names, and without queries that then lack a relevant one."""
        grades = {
            query: kept
            for query, judged in self.grades.items()
            if query not in skipped and (kept := {name: g for name, g in judged.items() if name not in skipped})
        }
        queries = {name: file for name, file in self.queries.items() if name in grades}
        corpus = {name: file for name, file in self.corpus.items() if name not in skipped}
        return EvaluationSet(self.name, queries, corpus, grades, self.groups, self.relevant_from)


def picture_files(folder: Path) -> dict[str, Path]:
    """Find the picture files under a folder, by relative path, in a fixed order.

    Raises ``InvalidInput`` if there is none.
    """
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise InvalidInput(f"{folder} holds no JPEG, PNG or WebP picture.")
    return {file.relative_to(folder).as_posix(): file for file in found}


def from_folders(folder: Path, name: str = "") -> EvaluationSet:
    """Build a set from folders: the grade of two pictures is the number of folders that they share, at most 5.

    For ``animals/birds/a.png`` the grade of ``animals/birds/b.png`` is 2, and that of ``animals/fish/c.png`` is 1.
    Every picture that shares a folder with another is a query against all others. Groups are the topmost folders.
    """
    files = picture_files(folder)
    return by_folders(name or folder.name, files)


def by_folders(name: str, files: Mapping[str, Path]) -> EvaluationSet:
    """Build a set from the folders in file names, as ``from_folders`` does.

    Raises ``InvalidInput`` if no two files share a folder.
    """
    tops: dict[str, list[str]] = {}
    for one in files:
        top, slash, _ = one.partition("/")
        if slash:
            tops.setdefault(top, []).append(one)
    grades = {}
    for members in tops.values():
        for query in members:
            judged = {other: shared_folders(query, other) for other in members if other != query}
            if judged:
                grades[query] = judged
    if not grades:
        raise InvalidInput(f"{name}: no two pictures share a folder; put pictures that are alike into one folder each.")
    queries = {query: files[query] for query in grades}
    return EvaluationSet(name, queries, files, grades, {query: query.partition("/")[0] for query in grades})


def shared_folders(one: str, other: str) -> int:
    """Count the leading folders that two paths have in common, at most 5."""
    count = 0
    for left, right in zip(one.split("/")[:-1], other.split("/")[:-1], strict=False):
        if left != right or count == MAX_GRADE:
            break
        count += 1
    return count


def from_qrels(grades: Mapping[str, Mapping[str, int]], queries: Path, corpus: Path) -> EvaluationSet:
    """Build a set from qrels whose names are paths relative to two folders.

    Raises ``InvalidInput`` with the name of a judged picture that does not exist.
    """
    query_files, corpus_files = picture_files(queries), picture_files(corpus)
    for query, judged in grades.items():
        if query not in query_files:
            raise InvalidInput(f"The judgements name the query {query}, but there is no such picture under {queries}.")
        for document in judged:
            if document not in corpus_files:
                raise InvalidInput(f"The judgements name {document}, but there is no such picture under {corpus}.")
    return EvaluationSet(queries.name, {name: query_files[name] for name in grades}, corpus_files, grades)
