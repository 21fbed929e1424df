"""Features of views, computed once: with a frozen backbone, batches of thousands of pictures cost next to nothing.

    python -m training.features out/corpus out/features --backbone efficientnet-lite0-pools --rounds 8

Round 0 holds the pictures as they are served, each later round one augmented view of every picture. What is there is
kept: the command goes on where it was stopped, and more rounds can be added. On a CPU the backbone runs in ONNX
Runtime, about four times as fast there as torch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.progress import track

from encoders import backbones
from training import picture_collection
from visualsearch.domain.errors import ConfigurationError, VisualSearchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Extract = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    Piece = Callable[[slice], NDArray[np.float32]]

BATCH = 32
SEED = 7
PIECE = 1024
"""So many views are written at a time; at most these are lost by an interruption."""


class Features:
    """A folder of features: float16 [n, features] for each round."""

    def __init__(self, folder: Path, about: dict[str, object]) -> None:
        self.folder, self.about = folder, about
        kept = folder / "about.json"
        if kept.is_file() and json.loads(kept.read_text()) != about:
            raise ConfigurationError(
                f"{folder} holds features of other pictures or another backbone; name another folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(about))

    @property
    def rounds(self) -> int:
        """Count the rounds that are complete."""
        return next(number for number in range(10**6) if not self._file(number).is_file())

    def read(self) -> list[NDArray[np.float16]]:
        """Open every complete round, without reading it into memory."""
        return [np.load(self._file(number), mmap_mode="r") for number in range(self.rounds)]

    def add(
        self, number: int, rows: int, width: int, piece: Callable[[slice], NDArray[np.float32]], until: float
    ) -> bool:
        """Compute a round, piece by piece, from where it was stopped; say whether it is complete by the deadline."""
        writing = self.folder / f".round-{number:03d}.npy"
        done_file = writing.with_suffix(".done")
        done = int(done_file.read_text()) if done_file.is_file() else 0
        stored = np.lib.format.open_memmap(writing, "r+" if done else "w+", np.float16, (rows, width))
        for start in track(range(done, rows, PIECE), f"Round {number}"):
            if time.monotonic() > until:
                return False
            where = slice(start, min(start + PIECE, rows))
            stored[where] = piece(where)
            stored.flush()
            done_file.write_text(str(where.stop))
        writing.rename(self._file(number))
        done_file.unlink(missing_ok=True)
        return True

    def _file(self, number: int) -> Path:
        return self.folder / f"round-{number:03d}.npy"


def about(collection: picture_collection.Collection, backbone: str) -> dict[str, object]:
    """Say what features depend on, so that those of other pictures are never taken for them."""
    digest = hashlib.sha256()
    for one in collection.pictures:
        digest.update(f"{one.file} {one.file.stat().st_size} {one.box}\n".encode())
    return {"backbone": backbone, "pictures": len(collection), "digest": digest.hexdigest()}


def build(
    collection: picture_collection.Collection,
    backbone: backbones.Backbone,
    rounds: int,
    folder: Path,
    minutes: float = 1e9,
) -> tuple[Features, bool]:
    """Compute features of so many rounds; returns them and whether all are there after ``minutes``."""
    features, extract = Features(folder, about(collection, backbone.name)), extractor(backbone)
    until = time.monotonic() + 60 * minutes
    with ThreadPoolExecutor() as pool:
        for number in range(features.rounds, rounds):

            def piece(where: slice, number: int = number) -> NDArray[np.float32]:
                starts = range(where.start, where.stop, BATCH)
                batches = [range(start, min(start + BATCH, where.stop)) for start in starts]
                return np.concatenate(list(pool.map(lambda rows: extract(_views(collection, rows, number)), batches)))

            if not features.add(number, len(collection), backbone.features, piece, until):
                return features, False
    return features, True


def _views(collection: picture_collection.Collection, rows: Iterable[int], number: int) -> NDArray[np.uint8]:
    pictures = [(row, collection.pictures[row]) for row in rows]
    if not number:
        return np.stack([one.clean() for _, one in pictures])
    return np.stack(
        [picture_collection.augmented(one, np.random.default_rng([SEED, number, row])) for row, one in pictures]
    )


def extractor(backbone: backbones.Backbone) -> Extract:
    """Return a backbone as a function from uint8 [n, 224, 224, 3] to float32 [n, features]."""
    if torch.cuda.is_available():
        network = backbone.network.cuda()

        def on_gpu(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
                found: NDArray[np.float32] = network(torch.from_numpy(pixels).cuda()).float().cpu().numpy()
            return found

        return on_gpu
    return _in_onnx_runtime(backbone)


def _in_onnx_runtime(backbone: backbones.Backbone) -> Extract:
    import onnxruntime

    from encoders.onnx_conversion import to_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the batches run beside each other
    session = onnxruntime.InferenceSession(to_onnx(backbone.network), options, providers=["CPUExecutionProvider"])

    def on_cpu(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run(None, {"pixels": pixels})[0]
        return found

    return on_cpu


def main(words: list[str] | None = None) -> int:
    """Run the command; returns 0 when all rounds are there, 75 when time ran out, 1 where something does not fit."""
    parser = argparse.ArgumentParser(prog="training.features", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_root", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default=backbones.LITE0, help="%(default)s")
    parser.add_argument("--pretrained", default="", help="a tag, or a file of weights, for OpenCLIP")
    parser.add_argument("--rounds", type=int, default=8, help="%(default)s")
    parser.add_argument("--clicks", type=Path, help="a folder that training.click_pairs wrote")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long, to be called again")
    given = parser.parse_args(words)
    try:
        collection, skipped = picture_collection.read(given.data_root, given.clicks)
        backbone = backbones.load(given.backbone, given.pretrained)
        features, complete = build(collection, backbone, given.rounds, given.folder, given.minutes)
    except VisualSearchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"{features.rounds} rounds of {len(collection)} pictures; {len(skipped)} skipped")  # noqa: T201
    return 0 if complete else 75  # sysexits.h: EX_TEMPFAIL, try again


if __name__ == "__main__":
    sys.exit(main())
