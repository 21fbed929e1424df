"""Deletes many images of a caller's own, page by page. Depends on no framework and no server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.limits.caller_limits import current_account
from gateway.limits.costs import BASE_MS
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.images import ImagePage, ImageSelection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.caller import Caller
    from visualsearch.image_deletion import ImageDeletion
    from visualsearch.ports import ImageRepository, ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which images to delete: all conditions must hold. ``prefix`` is the beginning of the key in the object store."""

    image_ids: frozenset[int] | None = None
    prefix: str = ""
    source: str = ""

    def __str__(self) -> str:
        parts = ["named by id"] if self.image_ids is not None else []
        parts += [f"with prefix {self.prefix!r}"] if self.prefix else []
        parts += [f"of source {self.source!r}"] if self.source else []
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class BulkDeletion:
    """Finds and deletes the images that a caller may delete: its own, or as an administrator all."""

    image_repository: ImageRepository
    object_store: ObjectStore
    deletion: ImageDeletion

    async def page(self, caller: Caller, wanted: Wanted, after: int, limit: int) -> ImagePage:
        """Return up to ``limit`` images with a higher id. A page can be short, or empty, although there are more.

        Raises ``InvalidInput`` if nothing says which images.
        """
        if wanted == Wanted():
            raise InvalidInput("Say which images to delete: give 'image_ids', 'prefix' or 'source'.")
        selection = ImageSelection(
            source=wanted.source,
            prefix=self.object_store.uri_prefix(wanted.prefix) if wanted.prefix else "",
            owner=None if caller.is_admin else caller.owner,
        )
        if wanted.image_ids is None:
            return await self.image_repository.page(selection, after, limit)
        asked = sorted(one for one in wanted.image_ids if one > after)
        known = await self.image_repository.by_ids(asked[:limit])
        images = [known[one] for one in asked[:limit] if one in known and selection.has(known[one])]
        return ImagePage(images, asked[limit - 1] if len(asked) > limit else None)

    async def delete(self, page: ImagePage, collections: Sequence[str]) -> list[int]:
        """Delete the images of a page; return the ids of those that were still there."""
        current_account().charge(BASE_MS * len(page.images))
        return await self.deletion.delete_all([image.id for image in page.images], collections)
