"""Chooses what a folder or bucket is called in the corpus, so that no two share keys.

A folder keeps its name for as long as it is indexed from the same place. A new one gets its own last name unless that
is taken: by a folder that is still where it was, by one that is out of sight but has other pictures, or by objects that
are there already. Out of sight are folders of other machines and disks, those that were moved or removed, and those
that were indexed before names were recorded. They are recognized by their pictures and keep their name.
"""

from __future__ import annotations

import itertools
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from indexer.sources.file_keys import key_step
from indexer.sources.folder_location import describe, is_there, location_of, location_of_bucket, path_of
from indexer.sources.picture_sources import key_prefix
from visualsearch.domain.errors import Conflict, InvalidInput
from visualsearch.domain.indexed_folders import IndexedFolder, same_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from indexer.sources.picture_sample import PictureSample
    from visualsearch.ports import ImageRepository, IndexedFolderRepository, ObjectStore

MAX_NAME = 100
"""Characters of a name that a person gives."""


@dataclass(frozen=True, slots=True)
class FolderName:
    """What a folder is called: the prefix of its keys, the recorded folder that this is or lies in, and a remark."""

    prefix: str
    folder: IndexedFolder
    moved_from: str = ""
    remark: str = ""


class FolderNames:
    """The names of the folders of one corpus."""

    def __init__(
        self, folders: IndexedFolderRepository, image_repository: ImageRepository, object_store: ObjectStore
    ) -> None:
        self._folders = folders
        self._image_repository = image_repository
        self._object_store = object_store

    async def choose(
        self, folder: Path, sample: PictureSample, *, whole: bool, name: str = "", alone: bool = False
    ) -> FolderName:
        """Return the name of a folder, without recording it. ``folder`` is its real path.

        With ``alone``, it gets a name of its own even inside a recorded folder: so do archives and tables, because what
        is in them is no file of that folder. ``name`` is the one that a person wants; raises ``InvalidInput`` if it is
        unsuitable, ``Conflict`` if another folder has it.
        """
        known = await self._folders.all()
        if name:
            return self._wanted(folder, known, name, whole=whole)
        if found := self._recorded(folder, known, whole=whole, alone=alone):
            return found
        here = IndexedFolder("", location_of(folder), whole)
        if old := await self._moved(here, known, sample):
            return old
        found = await self._new(here, _candidates(folder), known, sample)
        return replace(found, remark=f"{found.remark} {_inside(folder, known) if whole else ''}".strip())

    async def choose_for_bucket(self, bucket: str, sample: PictureSample) -> FolderName:
        """Return the name for the copies of another bucket's objects, as ``choose`` does for a folder."""
        here = IndexedFolder("", location_of_bucket(bucket))
        known = await self._folders.all()
        if found := next((one for one in known if one.location == here.location), None):
            return _named(found)
        return await self._new(here, _numbered([bucket, f"{bucket}-bucket"]), known, sample)

    async def record(self, name: FolderName) -> None:
        """Record a chosen name; raises ``Conflict`` if another folder got it meanwhile."""
        if not await self._folders.record(name.folder, name.moved_from):
            raise Conflict(f"Another folder was just named {name.folder.name!r}. Start again.")

    def _wanted(self, folder: Path, known: list[IndexedFolder], name: str, *, whole: bool) -> FolderName:
        if name != key_step(name) or "/" in name or key_prefix(name) != f"{name}/" or len(name) > MAX_NAME:
            raise InvalidInput(
                f"{name!r} is no name for a folder: at most {MAX_NAME} characters without slashes, backslashes and "
                "control characters, not beginning with a dot, and not one of the corpus' own, such as uploads."
            )
        here = location_of(folder)
        old = next((one for one in known if same_name(one.name) == same_name(name)), None)
        if old is None or old.location == here:
            before = next((one for one in known if one.location == here and one is not old), None)
            return _named(IndexedFolder(old.name if old else name, here, whole), remark=_renamed(before))
        if is_there(old.location):
            raise Conflict(f"{describe(old.location)} is named {old.name!r} already. Choose another name.")
        return _named(IndexedFolder(old.name, here, whole), old.location, f"It was {describe(old.location)} before.")

    def _recorded(self, folder: Path, known: list[IndexedFolder], *, whole: bool, alone: bool) -> FolderName | None:
        """Return the name of a folder that is recorded at this place, or inside one that is."""
        for above in (folder,) if alone else (folder, *folder.parents):
            here = location_of(above)
            for one in known:
                if one.location == here and (one.whole or above == folder):
                    steps = "".join(f"{key_step(step)}/" for step in folder.relative_to(above).parts)
                    # What is inside a whole folder is not recorded itself.
                    recorded = IndexedFolder(one.name, here, one.whole or whole)
                    return FolderName(one.prefix + steps, recorded, one.location)
        return None

    async def _moved(self, here: IndexedFolder, known: list[IndexedFolder], sample: PictureSample) -> FolderName | None:
        """Return the name of a recorded folder that is out of sight and had these pictures, whatever it was called."""
        for old in known:
            if not is_there(old.location) and await self._has_these(old, sample):
                return _named(replace(here, name=old.name), old.location, _recognized(old))
        return None

    async def _new(
        self, here: IndexedFolder, candidates: Iterator[str], known: list[IndexedFolder], sample: PictureSample
    ) -> FolderName:
        """Return the first name that is free or belongs to these pictures already. ``here`` has no name yet."""
        taken = {same_name(one.name): one for one in known}
        remark = ""
        for name in candidates:
            old = taken.get(same_name(name))
            new = replace(here, name=old.name if old else name)
            if old is None and not await self._has_images(new.prefix):
                return _named(new, remark=remark)
            if (old is None or not is_there(old.location)) and await self._has_these(new, sample):
                return _named(new, old.location if old else "", _recognized(old))
            remark = remark or f"{name!r} is {describe(old.location) if old else 'taken by other pictures'}."
        raise AssertionError("there are infinitely many candidates")

    async def _has_images(self, prefix: str) -> bool:
        uri = self._object_store.uri_prefix(prefix)
        return any(image.uri.startswith(uri) for image in await self._image_repository.after_uri(uri, 1))

    async def _has_these(self, folder: IndexedFolder, sample: PictureSample) -> bool:
        """Return whether most of a folder's pictures that have an image by this name have the same content."""
        uri_of = self._object_store.uri_prefix
        hashes = {uri_of(folder.prefix + key): content for key, content in (await sample.hashes()).items()}
        images = await self._image_repository.by_uris(list(hashes))
        same = [image.content_hash == hashes[uri] for uri, image in images.items() if image.content_hash]
        return sum(same) > len(same) / 2


def _named(folder: IndexedFolder, moved_from: str = "", remark: str = "") -> FolderName:
    return FolderName(folder.prefix, folder, moved_from, remark)


def _renamed(before: IndexedFolder | None) -> str:
    return f"Its pictures stay indexed as {before.name!r} too. {_removal(before)}" if before else ""


def _inside(folder: Path, known: list[IndexedFolder]) -> str:
    """Return a remark on a recorded folder inside a new one: its pictures will be in the corpus twice."""
    for one in known:
        if one.whole and is_there(one.location) and folder in path_of(one.location).parents:
            what = f"{describe(one.location)} inside it is already indexed as {one.name!r}: they are there twice."
            return f"{what} {_removal(one)}"
    return ""


def _removal(folder: IndexedFolder) -> str:
    return f"`visualsearch images delete --prefix {shlex.quote(folder.prefix)}` removes those."


def _recognized(old: IndexedFolder | None) -> str:
    return (
        f"Its pictures are those of {describe(old.location)}." if old else "Its pictures were indexed as this before."
    )


def _candidates(folder: Path) -> Iterator[str]:
    last = key_step(folder.name) if folder.name else "root"
    names = [last]
    if folder.parent.name:
        names.append(f"{key_step(folder.parent.name)}-{last}")
    return _numbered(names)


def _numbered(names: Sequence[str]) -> Iterator[str]:
    """Yield these names, then the first one with numbers. None is one of our own in the bucket."""
    numbered = (f"{names[0]}-{number}" for number in itertools.count(2))
    return (key_prefix(name).removesuffix("/") for name in itertools.chain(names, numbered))
