"""Finds the duplicates of the whole corpus, and says of each image where it is and whose."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from indexer.maintenance.duplicate_corpus import read_corpus
from indexer.maintenance.duplicate_groups import DuplicateFinder, DuplicateGroup
from visualsearch.domain.near_duplicates import NearDuplicateRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from visualsearch.domain.images import Image
    from visualsearch.domain.releases import Release
    from visualsearch.ports import DuplicateExclusions, ImageRepository, Vectors

PAGE = 1000


@dataclass(frozen=True, slots=True)
class DuplicateReport:
    """Groups of exact copies and of near-duplicates, the largest groups first, by the embeddings of ``release``."""

    release: str
    images: int
    without_embedding: int
    """Images of which only exact copies were looked for."""
    without_colours: int
    """Images that were compared by hash and embedding alone."""
    copies: Sequence[DuplicateGroup]
    near: Sequence[DuplicateGroup]
    known: Mapping[int, Image]
    """The images of all groups by id."""

    def to_json(self) -> dict[str, Any]:
        """Return the report in JSON's types."""
        return {
            "release": self.release,
            "images": self.images,
            "without_embedding": self.without_embedding,
            "without_colours": self.without_colours,
            "copies": [self._group(group, near=False) for group in self.copies],
            "near_duplicates": [self._group(group, near=True) for group in self.near],
        }

    def _group(self, group: DuplicateGroup, *, near: bool) -> dict[str, Any]:
        others = [
            self._image(one.image_id) | ({"cosine": round(one.cosine, 4), "distance": one.distance} if near else {})
            for one in group.members
        ]
        return {"keep": self._image(group.leader), "others": others}

    def _image(self, image_id: int) -> dict[str, Any]:
        image = self.known[image_id]
        names = ("id", "uri", "width", "height", "source", "owner", "visibility")
        return {name: getattr(image, name) for name in names}


async def find_duplicates(
    image_repository: ImageRepository,
    exclusions: DuplicateExclusions,
    vectors: Vectors,
    release: Release,
    on_progress: Callable[[str, int, int | None], None] = lambda _what, _done, _of: None,
) -> DuplicateReport:
    """Compare all indexed images by the collection of a release.

    ``on_progress`` is given what is done, how much of it, and of how much if that is known. Raises ``Unavailable``.
    """
    apart = await exclusions.all_pairs()
    rule = NearDuplicateRule(cosine=release.duplicate_cosine)

    def read(what: str, number: int) -> None:
        on_progress(f"read {what}", number, None)

    async with read_corpus(image_repository, vectors, release.collection, read) as corpus:
        finder = DuplicateFinder(corpus, rule, apart)
        copies = await asyncio.to_thread(finder.copies)
        near = await asyncio.to_thread(finder.near, copies, lambda done, of: on_progress("compared", done, of))
        count, embedded = len(corpus.ids), int(corpus.embedded.sum())
        coloured = int((corpus.coloured & corpus.embedded).sum())
    known = await _images(image_repository, _ids([*copies, *near]))
    return DuplicateReport(
        release.name,
        count,
        count - embedded,
        embedded - coloured,
        _largest_first(copies, known),
        _largest_first(near, known),
        known,
    )


def _ids(groups: Iterable[DuplicateGroup]) -> list[int]:
    return sorted({one for group in groups for one in (group.leader, *(member.image_id for member in group.members))})


async def _images(image_repository: ImageRepository, ids: Sequence[int]) -> dict[int, Image]:
    found: dict[int, Image] = {}
    for begin in range(0, len(ids), PAGE):
        found |= await image_repository.by_ids(ids[begin : begin + PAGE])
    return found


def _largest_first(groups: Iterable[DuplicateGroup], known: Mapping[int, Image]) -> list[DuplicateGroup]:
    """Sort groups by size, without images that were deleted meanwhile."""
    return sorted(_there(groups, known), key=lambda group: (-len(group.members), group.leader))


def _there(groups: Iterable[DuplicateGroup], known: Mapping[int, Image]) -> Iterator[DuplicateGroup]:
    for group in groups:
        members = [member for member in group.members if member.image_id in known]
        if group.leader in known and members:
            yield DuplicateGroup(group.leader, members)
