"""Embed pictures for evaluation: an ONNX file in process, with the same preprocessing as in serving."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.progress import track

from visualsearch.domain.errors import ConfigurationError, InvalidInput
from visualsearch.domain.images import IMAGE_SIDE
from visualsearch.imaging.preprocessing import PREPROCESSING, decode

if TYPE_CHECKING:
    from collections.abc import Mapping

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 [n, 224, 224, 3] to float32 [n, d] of unit length."""
Prepare = Callable[[bytes], NDArray[np.uint8]]
"""A picture file to uint8 [224, 224, 3]; raises ``InvalidInput``."""

BATCH = 32
CHUNK = 512
"""Number of pictures whose pixels are in memory at once, 77 MB."""


def onnx_embed(model: Path | bytes) -> Embed:
    """Return an encoder's ONNX file as a function. Raises ``ConfigurationError`` if the file is not an encoder."""
    try:
        data = model.read_bytes() if isinstance(model, Path) else model
        options = onnxruntime.SessionOptions()
        # As in serving: threads that spin between two batches take the cores from other work, including other models.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's error classes have no public base class
        raise ConfigurationError(f"{model if isinstance(model, Path) else 'It'} is no ONNX model: {error}") from None
    names = [one.name for one in session.get_inputs()], [one.name for one in session.get_outputs()]
    if names[0] != ["pixels"] or "embedding" not in names[1]:
        raise ConfigurationError(f"An encoder reads `pixels` and gives `embedding`; this model has {names}.")

    def embed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        embedding: NDArray[np.float32] = session.run(["embedding"], {"pixels": pixels})[0]
        return embedding

    return embed


def served(data: bytes) -> NDArray[np.uint8]:
    """Preprocess a picture file as the gateway and the indexer do."""
    return decode(data).pixels


def pixels_of(
    files: Mapping[str, Path], how: Prepare = served, cache: Path | None = None
) -> tuple[NDArray[np.uint8], list[str], dict[str, str]]:
    """Preprocess files: uint8 [n, 224, 224, 3], the names in that order, and the reason for each skipped file.

    ``cache`` is a folder for the pixels. Later calls read them from there unless a file has changed.
    """
    kept = cache / f"{_key(files, how)}.npz.d" if cache else None
    if kept and (kept / "names.txt").exists():
        return np.load(kept / "pixels.npy", mmap_mode="r"), *_read_names(kept)
    pixels, names, skipped = _prepared(files, how)
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
        np.save(kept / "pixels.npy", pixels)
        (kept / "skipped.txt").write_text("".join(f"{name}\t{reason}\n" for name, reason in skipped.items()))
        (kept / "names.txt").write_text("\n".join(names))
    return pixels, names, skipped


def embedded(
    files: Mapping[str, Path], embed: Embed, how: Prepare = served, cache: Path | None = None, label: str = "Embedding"
) -> tuple[NDArray[np.float32], list[str], dict[str, str]]:
    """Preprocess and embed files: float32 [n, d], the names in that order, and the reason for each skipped file.

    Without a cache the pixels are processed in chunks, so that memory does not grow with the number of files.
    """
    if cache:
        pixels, names, skipped = pixels_of(files, how, cache)
        return embeddings_of(pixels, embed, label), names, skipped
    parts, names, skipped = [], [], {}
    every = list(files.items())
    for start in track(range(0, len(every), CHUNK), label, transient=True):
        pixels, more, unreadable = _prepared(dict(every[start : start + CHUNK]), how)
        names += more
        skipped |= unreadable
        parts += [embed(pixels[begin : begin + BATCH]) for begin in range(0, len(pixels), BATCH)]
    return np.concatenate(parts) if parts else np.empty((0, 1), np.float32), names, skipped


def embeddings_of(pixels: NDArray[np.uint8], embed: Embed, label: str = "Embedding") -> NDArray[np.float32]:
    """Embed pixels in batches: float32 [n, d]."""
    starts = range(0, len(pixels), BATCH)
    parts = [
        embed(np.ascontiguousarray(pixels[start : start + BATCH])) for start in track(starts, label, transient=True)
    ]
    return np.concatenate(parts) if parts else np.empty((0, 1), np.float32)


def _prepared(files: Mapping[str, Path], how: Prepare) -> tuple[NDArray[np.uint8], list[str], dict[str, str]]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        prepared = dict(zip(files, pool.map(lambda one: _attempt(one, how), files.values()), strict=True))
    skipped = {name: one for name, one in prepared.items() if isinstance(one, str)}
    rows = [one for one in prepared.values() if not isinstance(one, str)]
    pixels = np.stack(rows) if rows else np.empty((0, IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    return pixels, [name for name in files if name not in skipped], skipped


def _attempt(file: Path, how: Prepare) -> NDArray[np.uint8] | str:
    try:
        return how(file.read_bytes())
    except (InvalidInput, OSError) as error:
        return str(error)


def _key(files: Mapping[str, Path], how: Prepare) -> str:
    """Return the cache key of pixels: the files, their sizes and times, and the preprocessing."""
    digest = hashlib.sha256(f"{PREPROCESSING} {how.__module__}.{how.__qualname__}".encode())
    for name, file in files.items():
        stat = file.stat()
        digest.update(f"{name}\0{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _read_names(folder: Path) -> tuple[list[str], dict[str, str]]:
    names = (folder / "names.txt").read_text().split("\n")
    skipped = dict(line.split("\t", 1) for line in (folder / "skipped.txt").read_text().splitlines())
    return names, skipped
