"""The image repository in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from visualsearch.domain.errors import NotFound, Unavailable
from visualsearch.domain.images import UNLIMITED, Image, ImageContent, ImagePage, Status, Usage, Visibility

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from visualsearch.domain.images import ImageChange, ImageMetadata, ImageSelection, NewImage, Quota


class FakeImages:
    """Tables are plain attributes that tests can inspect. While ``down`` is set, every call raises ``Unavailable``."""

    def __init__(self) -> None:
        self.down = False
        self.refused = 0
        self.scanned = 20_000
        self.images: dict[int, Image] = {}
        self.promised_at: dict[int, datetime] = {}
        self.sizes: dict[int, int] = {}
        self.phashes: dict[int, int] = {}
        self.colours: dict[int, bytes | None] = {}
        self.indexed_in: dict[int, str] = {}
        self.deletions: dict[int, tuple[str, bool, datetime]] = {}
        self._last_id = 0

    def _up(self) -> None:
        if self.down:
            self.refused += 1
            raise Unavailable("Postgres")

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def register_all(self, new: Sequence[NewImage]) -> list[Image]:
        return [await self.register(one) for one in new]

    async def register(self, new: NewImage, quota: Quota = UNLIMITED) -> Image:
        if new.owner:
            held = await self.usage(new.owner)
            is_new = await self.by_uri(new.uri) is None
            quota.check(Usage(held.images + is_new, held.bytes + new.bytes))
        old = await self.by_uri(new.uri)
        if old is None:
            image = Image(
                self._next_id(),
                new.uri,
                None,
                None,
                datetime.now(UTC),
                Status.PENDING,
                source=new.source,
                owner=new.owner,
                visibility=new.visibility,
                content_hash=new.content_hash,
                etag=new.etag,
            )
        else:
            same = new.content_hash is not None and old.content_hash == new.content_hash
            kept = old.status is Status.INDEXED and same
            status = Status.INDEXED if kept else Status.PENDING
            image = replace(old, status=status, reason=None, etag=new.etag or old.etag)
        self.images[image.id] = image
        self.sizes[image.id] = new.bytes or self.sizes.get(image.id, 0)
        self.promised_at[image.id] = datetime.now(UTC)
        return image

    async def get(self, image_id: int) -> Image:
        self._up()
        if image_id not in self.images:
            raise NotFound(f"There is no image {image_id}: it was never accepted, or it has been deleted.")
        return self.images[image_id]

    async def by_uri(self, uri: str) -> Image | None:
        self._up()
        return next((image for image in self.images.values() if image.uri == uri), None)

    async def by_uris(self, uris: Sequence[str]) -> dict[str, Image]:
        self._up()
        return {image.uri: image for image in self.images.values() if image.uri in uris}

    async def by_ids(self, image_ids: Sequence[int]) -> dict[int, Image]:
        self._up()
        return {image_id: self.images[image_id] for image_id in image_ids if image_id in self.images}

    async def describe(self, described: Sequence[ImageMetadata]) -> None:
        self._up()
        for one in described:
            if one.image_id in self.images:
                self.images[one.image_id] = replace(
                    self.images[one.image_id],
                    width=one.width,
                    height=one.height,
                    content_hash=one.content_hash,
                    etag=one.etag,
                )
                self.phashes[one.image_id] = one.phash
                self.colours[one.image_id] = one.colours or None
                self.sizes[one.image_id] = one.bytes or self.sizes[one.image_id]

    async def without_colours(self, limit: int) -> list[Image]:
        self._up()
        ids = [image_id for image_id, colours in self.colours.items() if colours is None]
        return [self.images[i] for i in ids if self.images[i].status is Status.INDEXED][:limit]

    async def add_colours(self, colours: Mapping[int, bytes]) -> None:
        self._up()
        for image_id, layout in colours.items():
            if image_id in self.colours and self.colours[image_id] is None:
                self.colours[image_id] = layout

    async def contents(self, after: int, limit: int) -> list[ImageContent]:
        return [
            ImageContent(
                *(one.id, one.content_hash or b"", one.width or 0, one.height or 0, self.colours.get(one.id) or b"")
            )
            for one in await self.after_id(after, limit)
        ]

    async def mark_indexed(
        self, contents: Mapping[int, bytes], release: str, written: Sequence[Image] = ()
    ) -> list[int]:
        self._up()
        there = [i for i, content in contents.items() if i in self.images and self.images[i].content_hash == content]
        values = {one.id: (one.source, one.visibility) for one in written}
        here = {i: (self.images[i].source, self.images[i].visibility) for i in there}
        there = [i for i in there if values.get(i, here[i]) == here[i]]
        for image_id in there:
            self.images[image_id] = replace(self.images[image_id], status=Status.INDEXED, reason=None)
            self.indexed_in[image_id] = release
        return there

    async def mark_rejected(self, image_id: int, reason: str, etag: str = "") -> None:
        self._up()
        if image_id in self.images:
            self.images[image_id] = replace(self.images[image_id], status=Status.REJECTED, reason=reason, etag=etag)

    async def mark_pending(self, image_ids: Sequence[int]) -> list[Image]:
        self._up()
        for image_id in self.images.keys() & set(image_ids):
            self.images[image_id] = replace(self.images[image_id], status=Status.PENDING, reason=None)
            self.promised_at[image_id] = datetime.now(UTC)
        return list((await self.by_ids(image_ids)).values())

    async def change(self, image_id: int, change: ImageChange) -> Image:
        image = await self.get(image_id)
        source = image.source if change.source is None else change.source
        visibility = change.visibility or image.visibility
        image = replace(image, source=source, visibility=visibility, status=Status.PENDING, reason=None)
        self.images[image_id] = image
        self.promised_at[image_id] = datetime.now(UTC)
        return image

    async def after_uri(self, uri: str, limit: int) -> list[Image]:
        self._up()
        images = sorted(self.images.values(), key=lambda image: image.uri)
        return [image for image in images if image.uri > uri][:limit]

    async def page(self, selection: ImageSelection, after: int, limit: int) -> ImagePage:
        self._up()
        scanned = sorted(one for one in self.images if one > after)[: self.scanned]
        images = [self.images[one] for one in scanned if selection.has(self.images[one])][:limit]
        if len(images) == limit:
            return ImagePage(images, images[-1].id)
        return ImagePage(images, scanned[-1] if len(scanned) == self.scanned else None)

    async def after_id(self, image_id: int, limit: int) -> list[Image]:
        self._up()
        ids = sorted(i for i, image in self.images.items() if i > image_id and image.status is Status.INDEXED)
        return [self.images[i] for i in ids[:limit]]

    async def hashes(self, after: int, limit: int) -> list[tuple[int, int]]:
        return [(image.id, self.phashes[image.id]) for image in await self.after_id(after, limit)]

    async def hashes_of(self, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        self._up()
        return [(image_id, self.phashes[image_id]) for image_id in image_ids if image_id in self.phashes]

    async def delete(self, image_id: int, *, finished: bool = False) -> str:
        self._up()
        if image_id in self.images:
            self.phashes.pop(image_id, None)
            self.colours.pop(image_id, None)
            uri = self.images.pop(image_id).uri
            self.deletions[image_id] = (uri, finished, datetime.now(UTC))
            return uri
        uri, done, _ = self.deletions.get(image_id, ("", True, None))
        if done:
            raise NotFound(f"There is no image {image_id}.")
        return uri

    async def delete_all(self, image_ids: Sequence[int]) -> dict[int, str]:
        there = [one for one in image_ids if one in self.images]
        return {one: await self.delete(one) for one in there}

    async def finish_deletion(self, image_id: int) -> None:
        self._up()
        if image_id in self.deletions:
            uri, _, at = self.deletions[image_id]
            self.deletions[image_id] = (uri, True, at)

    async def unfinished_deletions(self, older_than_s: float, limit: int) -> list[tuple[int, str]]:
        self._up()
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        found = sorted((at, i, uri) for i, (uri, done, at) in self.deletions.items() if not done and at < before)
        return [(i, uri) for _, i, uri in found[:limit]]

    async def is_being_deleted(self, uri: str) -> bool:
        self._up()
        return any(uri == deleted and not done for deleted, done, _ in self.deletions.values())

    async def is_deleted(self, uri: str) -> bool:
        gone = await self.by_uri(uri) is None
        return gone and any(uri == deleted for deleted, _, _ in self.deletions.values())

    async def waiting(self, older_than_s: float, limit: int) -> list[Image]:
        self._up()
        now = datetime.now(UTC)
        before = now - timedelta(seconds=older_than_s)
        pending = [image for image in self.images.values() if image.status is Status.PENDING]
        late = sorted((image for image in pending if self.promised_at[image.id] < before), key=lambda i: i.created_at)
        self.promised_at |= {image.id: now for image in late[:limit]}
        return late[:limit]

    async def usage(self, owner: str) -> Usage:
        self._up()
        if not owner:
            return Usage()
        held = [i for i, one in self.images.items() if one.owner == owner and one.status is not Status.REJECTED]
        return Usage(len(held), sum(self.sizes[image_id] for image_id in held))

    async def counts(self, visible_to: str | None = None) -> dict[Status, int]:
        self._up()
        counted = [
            image.status
            for image in self.images.values()
            if visible_to is None or image.visibility is Visibility.PUBLIC or image.owner == visible_to
        ]
        return {status: counted.count(status) for status in Status}

    async def allocate_query_ids(self, count: int) -> list[int]:
        self._up()
        return [self._next_id() for _ in range(count)]

    async def was_issued(self, query_image_id: int) -> bool:
        self._up()
        return 1 <= query_image_id <= self._last_id

    async def check(self) -> None:
        self._up()

    async def close(self) -> None:
        pass
