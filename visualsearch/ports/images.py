"""The repository of the images' rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from visualsearch.domain.images import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from visualsearch.domain.images import (
        Image,
        ImageChange,
        ImageContent,
        ImageMetadata,
        ImagePage,
        ImageSelection,
        ImageSummary,
        NewImage,
        Quota,
        Status,
        Usage,
    )


class ImageRepository(Protocol):
    """Metadata of images and releases."""

    async def register(self, new: NewImage, quota: Quota = UNLIMITED) -> Image:
        """Write a pending row, or return the uri's existing row (reset to pending if its content differs).

        A uri keeps its id for ever. If ``new`` has an entity tag, the row takes it over. Raises ``QuotaExceeded``, and
        writes nothing, if its owner would store more than ``quota``, also if others register for it at the same time.
        """
        ...

    async def register_all(self, new: Sequence[NewImage]) -> list[Image]:
        """Register images of different uris in one statement; return their rows in the same order."""
        ...

    async def get(self, image_id: int) -> Image:
        """Return one image; raises ``NotFound``."""
        ...

    async def by_uri(self, uri: str) -> Image | None:
        """Return the image of a uri, or None."""
        ...

    async def by_uris(self, uris: Sequence[str]) -> dict[str, Image]:
        """Return images by uri, for those that exist."""
        ...

    async def by_ids(self, image_ids: Sequence[int]) -> dict[int, Image]:
        """Return images by id, for those that exist."""
        ...

    async def describe(self, described: Sequence[ImageMetadata]) -> None:
        """Write size, content hash, entity tag, pHash and colours of images, before their vectors are written."""
        ...

    async def without_colours(self, limit: int) -> list[Image]:
        """Return up to ``limit`` indexed images that nobody has looked at for their colours."""
        ...

    async def add_colours(self, colours: Mapping[int, bytes]) -> None:
        """Write colour layouts by id, of images that have none; empty bytes if there is none to be had."""
        ...

    async def contents(self, after: int, limit: int) -> list[ImageContent]:
        """Return the contents of the first ``limit`` indexed images with a higher id, ascending."""
        ...

    async def mark_indexed(
        self, contents: Mapping[int, bytes], release: str, written: Sequence[Image] = ()
    ) -> list[int]:
        """Mark images (id to content hash) as searchable in a release.

        ``written`` are images as their vectors were written. Returns the ids that were marked. The others were deleted
        in the meantime, described with other content, or have another source or visibility than the vector.
        """
        ...

    async def mark_rejected(self, image_id: int, reason: str, etag: str = "") -> None:
        """Mark an image as rejected with a reason. ``etag`` names the object that was examined."""
        ...

    async def mark_pending(self, image_ids: Sequence[int]) -> list[Image]:
        """Set images back to pending; return those that exist."""
        ...

    async def change(self, image_id: int, change: ImageChange) -> Image:
        """Change an image and set it back to pending, since its vectors carry the old values. Raises ``NotFound``."""
        ...

    async def after_uri(self, uri: str, limit: int) -> list[Image]:
        """Return the first ``limit`` images whose uri sorts (bytewise) after this one, in that order."""
        ...

    async def after_id(self, image_id: int, limit: int) -> list[Image]:
        """Return the first ``limit`` indexed images with a higher id, ascending."""
        ...

    async def page(self, selection: ImageSelection, after: int, limit: int) -> ImagePage:
        """Return up to ``limit`` of the selected images with a higher id, ascending.

        One call looks at a limited number of images, so that it ends in time. A page can therefore be shorter than
        ``limit``, or empty, although there are more.
        """
        ...

    async def hashes(self, after: int, limit: int) -> list[tuple[int, int]]:
        """Return (id, pHash) of the first ``limit`` indexed images with a higher id, ascending."""
        ...

    async def delete(self, image_id: int, *, finished: bool = False) -> str:
        """Delete an image's rows, leave a tombstone and return its uri. Raises ``NotFound``.

        If an earlier deletion of the same id is unfinished (see ``finish_deletion``), its uri is returned. With
        ``finished``, nothing else is left to be removed.
        """
        ...

    async def delete_all(self, image_ids: Sequence[int]) -> dict[int, str]:
        """Delete the rows of images as ``delete`` does, in one statement; return the uris of those there, by id."""
        ...

    async def finish_deletion(self, image_id: int) -> None:
        """Mark a deletion as finished: the image's vector and object are removed too."""
        ...

    async def unfinished_deletions(self, older_than_s: float, limit: int) -> list[tuple[int, str]]:
        """List (id, uri) of deletions older than this whose vector or object may still exist."""
        ...

    async def is_being_deleted(self, uri: str) -> bool:
        """Return whether a deletion of the uri is unfinished, so that its object may still exist."""
        ...

    async def is_deleted(self, uri: str) -> bool:
        """Return whether the uri's last image was deleted."""
        ...

    async def hashes_of(self, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Return (id, pHash) of these images, for those that have one."""
        ...

    async def waiting(self, older_than_s: float, limit: int) -> list[Image]:
        """List images that have been pending for longer than this, oldest first."""
        ...

    async def usage(self, owner: str) -> Usage:
        """Return what an owner stores."""
        ...

    async def counts(self, visible_to: str | None = None) -> dict[Status, int]:
        """Count images by status: all, or those that are public or belong to the owner ``visible_to``."""
        ...

    async def allocate_query_ids(self, count: int) -> list[int]:
        """Allocate ids for queries from the sequence of the images, so that the two never collide."""
        ...

    async def was_issued(self, query_image_id: int) -> bool:
        """Return whether an id was ever given to an image or a query."""
        ...

    async def check(self) -> None:
        """Run one statement; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class DuplicateExclusions(Protocol):
    """Pairs of images that people marked as no duplicates, whatever their pHashes say."""

    async def pairs_and_shown(
        self, candidates: Sequence[int], wanted: Sequence[int], owner: str
    ) -> tuple[set[tuple[int, int]], dict[int, ImageSummary]]:
        """Return the candidates' duplicate exclusions, and the wanted images that are indexed and ``owner`` may see.

        Exclusions are pairs (lower id, higher id); images are by id. An empty owner may see public images alone.
        """
        ...

    async def all_pairs(self) -> set[tuple[int, int]]:
        """Return every duplicate exclusion, (lower id, higher id)."""
        ...

    async def mark_not_duplicates(self, one: int, other: int, by: str) -> None:
        """Mark two images as not duplicates of each other, and record who did."""
        ...

    async def unmark_not_duplicates(self, one: int, other: int) -> bool:
        """Remove the mark of two images; return whether there was one."""
        ...
