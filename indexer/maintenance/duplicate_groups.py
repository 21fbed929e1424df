"""Finds groups of copies and near-duplicates among the images of a corpus.

Groups are made as a search folds its results: the largest picture that is in no group yet leads the next one, and takes
all others that are near-duplicates of itself. So every member resembles its leader, and chains do not grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from indexer.maintenance.duplicate_corpus import NO_CONTENT
from visualsearch.domain.colour_layout import ColourLayouts
from visualsearch.domain.near_duplicates import hash_distances

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from numpy.typing import NDArray

    from indexer.maintenance.duplicate_corpus import DuplicateCorpus
    from visualsearch.domain.near_duplicates import NearDuplicateRule

    Places = NDArray[np.intp]

LEADERS = 256
OTHERS = 2048
"""Images that are compared at once: 4 MB, which the CPU's cache holds."""
PAIRS = 4096
"""Pairs whose embeddings are compared at once: 8 MB."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An image of a group. ``distance`` (bits) and ``cosine`` are those to its leader."""

    image_id: int
    distance: int = 0
    cosine: float = 1.0


@dataclass(slots=True)
class DuplicateGroup:
    """The image to keep, which is the largest, and those that resemble it, most alike first."""

    leader: int
    members: list[Duplicate] = field(default_factory=list)


class DuplicateFinder:
    """Compares the images of a corpus. ``not_duplicates`` are pairs (lower id, higher id) that are never grouped."""

    def __init__(
        self, corpus: DuplicateCorpus, rule: NearDuplicateRule, not_duplicates: Collection[tuple[int, int]] = ()
    ) -> None:
        self._corpus = corpus
        self._rule = rule
        self._not_duplicates = set(not_duplicates)
        self._marked = np.array(sorted({image_id for pair in self._not_duplicates for image_id in pair}), np.int64)
        self._best_first = np.lexsort((corpus.ids, -corpus.areas))

    def copies(self) -> list[DuplicateGroup]:
        """Return the groups of images whose files are the same, byte by byte."""
        contents = self._corpus.contents[self._best_first]
        order = np.argsort(contents, kind="stable")
        starts = np.flatnonzero(np.append(True, contents[order][1:] != contents[order][:-1]))
        found: list[DuplicateGroup] = []
        for part in np.split(self._best_first[order], starts[1:]):
            if len(part) > 1 and self._corpus.contents[part[0]].tobytes() != NO_CONTENT:
                found += self._same(part)
        return found

    def _same(self, places: Places) -> Iterator[DuplicateGroup]:
        """Split the copies of one file into groups without excluded pairs."""
        left = places
        while len(left) > 1:
            apart = self._excluded(np.full(len(left) - 1, left[0]), left[1:])
            members = self._corpus.ids[left[1:][~apart]].tolist()
            if members:
                yield DuplicateGroup(int(self._corpus.ids[left[0]]), [Duplicate(one) for one in members])
            left = left[1:][apart]

    def near(
        self,
        copies: Collection[DuplicateGroup] = (),
        on_progress: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> list[DuplicateGroup]:
        """Return the groups of near-duplicates, in the order of their leaders' ids; of ``copies``, leaders alone count.

        Compares the hashes of all pairs, and embeddings and colours where the hashes are near. ``on_progress`` is given
        how many images of how many are done.
        """
        known = {member.image_id for group in copies for member in group.members}
        wanted = self._corpus.embedded & ~np.isin(self._corpus.ids, list(known))
        order = self._best_first[wanted[self._best_first]]
        waiting = np.ones(len(order), bool)
        groups: dict[int, DuplicateGroup] = {}
        for begin in range(0, len(order), LEADERS):
            self._lead(order, begin, waiting, groups)
            on_progress(min(begin + LEADERS, len(order)), len(order))
        for group in groups.values():
            group.members.sort(key=lambda one: (-one.cosine, one.image_id))
        return sorted(groups.values(), key=lambda group: group.leader)

    def _lead(self, order: Places, begin: int, waiting: NDArray[np.bool_], groups: dict[int, DuplicateGroup]) -> None:
        """Let the next block of images lead groups of all later ones. Clears those that join from ``waiting``."""
        # Only the images of the block itself decide which of them lead.
        leaders = begin + np.flatnonzero(waiting[begin : begin + LEADERS])
        for leader, members in self._pairs(order, leaders, leaders):
            if waiting[leader]:
                self._join(order, leader, [one for one in members if waiting[one[0]]], waiting, groups)
        leaders = leaders[waiting[leaders]]
        for start in range(begin + LEADERS, len(order), OTHERS):
            others = start + np.flatnonzero(waiting[start : start + OTHERS])
            for leader, members in self._pairs(order, leaders, others):
                self._join(order, leader, [one for one in members if waiting[one[0]]], waiting, groups)

    def _join(
        self,
        order: Places,
        leader: int,
        members: list[tuple[int, int, float]],
        waiting: NDArray[np.bool_],
        groups: dict[int, DuplicateGroup],
    ) -> None:
        for place, distance, cosine in members:
            waiting[place] = False
            group = groups.setdefault(leader, DuplicateGroup(int(self._corpus.ids[order[leader]])))
            group.members.append(Duplicate(int(self._corpus.ids[order[place]]), distance, cosine))

    def _pairs(
        self, order: Places, leaders: Places, others: Places
    ) -> Iterator[tuple[int, list[tuple[int, int, float]]]]:
        """Yield each leader that has near-duplicates among later images, with (place, distance, cosine) of each.

        ``leaders`` and ``others`` are places in ``order``.
        """
        places = order[np.concatenate([leaders, others])]
        hashes = self._corpus.phashes[places], self._corpus.mirrored[places]
        bits = hash_distances(*hashes, slice(0, len(leaders)))[:, len(leaders) :]
        rows, columns = np.nonzero((bits <= self._rule.distance) & (others > leaders[:, None]))
        cosines = self._confirmed(bits[rows, columns], order[leaders[rows]], order[others[columns]])
        near = ~np.isnan(cosines)
        members: dict[int, list[tuple[int, int, float]]] = {}
        for row, column, cosine in zip(
            rows[near].tolist(), columns[near].tolist(), cosines[near].tolist(), strict=True
        ):
            members.setdefault(int(leaders[row]), []).append((int(others[column]), int(bits[row, column]), cosine))
        yield from members.items()

    def _confirmed(self, distances: NDArray[np.uint8], one: Places, other: Places) -> NDArray[np.float32]:
        """Return the cosines of pairs that are near-duplicates, NaN for others: float32 [pairs]."""
        found = np.full(len(one), np.nan, np.float32)
        for begin in range(0, len(one), PAIRS):
            part = slice(begin, begin + PAIRS)
            left, right = one[part], other[part]
            embeddings = self._corpus.embeddings
            cosines = np.clip(np.einsum("ij,ij->i", embeddings[left], embeddings[right]), -1, 1)
            both = np.concatenate([left, right])
            layouts = ColourLayouts.unpacked(self._corpus.coloured[both], self._corpus.colours[both])
            places = np.arange(len(left))
            near = self._rule.confirm(distances[part], cosines, layouts, places, places + len(left))
            near &= ~self._excluded(left, right)
            found[part][near] = cosines[near]
        return found

    def _excluded(self, one: Places, other: Places) -> NDArray[np.bool_]:
        """Return which pairs people marked as no duplicates: bool [pairs]."""
        left, right = self._corpus.ids[one], self._corpus.ids[other]
        found = np.isin(left, self._marked) & np.isin(right, self._marked)
        for pair in np.flatnonzero(found).tolist():
            ids = int(left[pair]), int(right[pair])
            found[pair] = (min(ids), max(ids)) in self._not_duplicates
        return found
