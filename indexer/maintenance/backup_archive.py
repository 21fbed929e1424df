"""A backup on disk. The folder has its final name only when it is complete.

manifest.json            what the backup contains, with counts and the SHA-256 of every other file
postgres/TABLE.copy.gz   rows in COPY's text format
vectors/COLLECTION/N.npz pages of rows: ids, embeddings, pHashes, filters
models/VERSION/          model.onnx and card.json of each version that a release needs
objects/N.tar            the objects themselves, if requested; pax headers say who may see them
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain.errors import ConfigurationError, InvalidInput
from visualsearch.domain.images import EMBEDDING_DIM, Visibility
from visualsearch.domain.indexing import ObjectMetadata
from visualsearch.domain.search import VectorRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from visualsearch.adapters.postgres.table_copy import PostgresTableCopy
    from visualsearch.ports import ImageRepository, ObjectStore, ReleaseRepository, Vectors

FORMAT = 1
BLOCK = 1 << 20
PAX = "VISUALSEARCH."
"""Prefix of the headers that carry an object's metadata in a tar file."""


@dataclass(slots=True)
class Manifest:
    """The contents of a backup."""

    made_at: str
    schema: str
    """Revision of the Postgres schema."""
    tables: dict[str, list[str]] = field(default_factory=dict)
    """Columns by table; each table comes after those that it references."""
    sequences: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    collections: dict[str, str] = field(default_factory=dict)
    """Index profile by collection."""
    vectors: dict[str, int] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    """Fingerprint by model version."""
    objects: int = 0
    object_bytes: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    """Objects that were listed but not copied, with the reason."""
    with_objects: bool = True
    bucket: str = ""
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Places:
    """The servers and folders that a backup covers. ``on_progress`` receives what was handled, and how much."""

    dump: PostgresTableCopy
    image_repository: ImageRepository
    release_repository: ReleaseRepository
    vectors: Vectors
    object_store: ObjectStore
    model_folder: Path
    """The encoder's folder in the model repository."""
    on_progress: Callable[[str, int], None] = lambda _what, _number: None


class Archive:
    """A backup's folder. Its name ends in ``.writing`` until it is complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def begin(cls, final: Path) -> Archive:
        """Start a backup and discard an interrupted one; raises ``InvalidInput`` if the name is taken."""
        if final.exists():
            raise InvalidInput(f"{final} exists already: a backup is never written over; choose another name.")
        folder = final.with_name(final.name + ".writing")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> tuple[Archive, Manifest]:
        """Open a complete backup and verify every file; raises ``InvalidInput`` naming what is wrong."""
        try:
            manifest = Manifest(**json.loads((folder / "manifest.json").read_text()))
        except (OSError, TypeError, ValueError):
            raise InvalidInput(f"{folder} is no backup: it has no manifest.json that can be read.") from None
        if manifest.format != FORMAT:
            raise InvalidInput(f"{folder} has format {manifest.format}; this version reads {FORMAT}.")
        for name, digest in manifest.files.items():
            file = folder / name
            if not file.is_file() or _digest(file) != digest:
                raise InvalidInput(f"{file} is missing or damaged: this backup cannot be restored; take another.")
        return cls(folder), manifest

    def file(self, *parts: str) -> Path:
        """Return the path of a file in the backup; create its folder."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def finish(self, manifest: Manifest, final: Path) -> None:
        """Write the manifest, close the files to other users, and rename the folder to its final name."""
        files = sorted(file for file in self.folder.rglob("*") if file.is_file())
        manifest.files = {str(file.relative_to(self.folder)): _digest(file) for file in files}
        listing = self.file("manifest.json")
        listing.write_text(json.dumps(asdict(manifest), indent=1))
        for file in (*files, listing):
            file.chmod(0o600)
        self.folder.rename(final)
        self.folder = final

    def table(self, name: str) -> Path:
        """Return the file of a table's rows."""
        return self.file("postgres", f"{name}.copy.gz")

    def write_vectors(self, collection: str, number: int, rows: Sequence[VectorRow]) -> None:
        """Write one page of rows."""
        np.savez(
            self.file("vectors", collection, f"{number:06}.npz"),
            ids=np.array([row.image_id for row in rows], np.int64),
            embeddings=np.array([row.embedding for row in rows], np.float32).reshape(-1, EMBEDDING_DIM),
            phashes=np.array([(row.phash, row.phash_mirrored) for row in rows], np.uint64).reshape(-1, 2),
            texts=np.array([(row.source, row.owner) for row in rows], np.str_).reshape(-1, 2),
            private=np.array([row.visibility is Visibility.PRIVATE for row in rows], np.bool_),
            min_sides=np.array([row.min_side for row in rows], np.int32),
        )

    def read_vectors(self, collection: str) -> Iterator[list[VectorRow]]:
        """Read a collection's rows, page by page."""
        for file in sorted(self.folder.joinpath("vectors", collection).glob("*.npz")):
            with np.load(file) as page:
                columns = {name: page[name] for name in page.files}
            yield [
                VectorRow(
                    int(columns["ids"][i]),
                    columns["embeddings"][i],
                    int(columns["phashes"][i][0]),
                    int(columns["phashes"][i][1]),
                    str(columns["texts"][i][0]),
                    str(columns["texts"][i][1]),
                    Visibility.PRIVATE if columns["private"][i] else Visibility.PUBLIC,
                    int(columns["min_sides"][i]),
                )
                for i in range(len(columns["ids"]))
            ]

    def take_model(self, repository: Path, version: int) -> str:
        """Copy a model version into the backup; return its fingerprint."""
        source = repository / str(version)
        if not (source / "card.json").is_file():
            raise ConfigurationError(f"{source} is missing, and a release needs it: put the model version back first.")
        shutil.copytree(source, self.file("models", str(version)))
        return str(json.loads((source / "card.json").read_text())["fingerprint"])


def to_pax(metadata: ObjectMetadata | None) -> dict[str, str]:
    """Return the headers of an object's entry in a tar file; none for an object without metadata."""
    if metadata is None:
        return {}
    texts = {"visibility": metadata.visibility.value, "owner": metadata.owner, "source": metadata.source}
    return {PAX + name: text for name, text in texts.items() if text}


def from_pax(headers: Mapping[str, str]) -> ObjectMetadata | None:
    """Parse the output of ``to_pax``. Whatever does not say that it is public is private."""
    if PAX + "visibility" not in headers:
        return None
    is_public = headers[PAX + "visibility"] == Visibility.PUBLIC
    visibility = Visibility.PUBLIC if is_public else Visibility.PRIVATE
    return ObjectMetadata(headers.get(PAX + "owner", ""), visibility, headers.get(PAX + "source", ""))


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
