"""Smaller or faster variants of an encoder, each behind a quality gate: fp16 and int8.

    python -m export.variants encoder.onnx --judge FOLDER [--calibrate FOLDER]

writes ``encoder.fp16.onnx`` and ``encoder.int8.onnx`` beside the file. A variant must embed pictures like the original
(mean cosine at least .999) and rank them as well (nDCG@10 loss below .005 on the category folders of --judge). If it
does not, the command prints the reason and does not write the variant.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.offline import evaluate
from evaluation.offline.embeddings import BATCH, embeddings_of, onnx_embed, pixels_of
from evaluation.offline.report import PRIMARY
from evaluation.offline.sets import from_folders, picture_files
from visualsearch.domain.errors import ConfigurationError, VisualSearchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from evaluation.offline.sets import EvaluationSet

MIN_COSINE = 0.999
MAX_NDCG_LOSS = 0.005
CALIBRATED_ON = 256
KINDS = ("fp16", "int8", "int8-dynamic")


@dataclass(frozen=True)
class Verdict:
    """The comparison of a variant with its original on one evaluation set."""

    cosine: float
    """Mean cosine similarity between the two embeddings of each picture."""
    least_cosine: float
    ndcg: float
    ndcg_loss: float
    """nDCG@10 of the original minus that of the variant."""

    @property
    def reasons(self) -> list[str]:
        """Return the reasons to refuse the variant; empty if it passes."""
        found = []
        if self.cosine < MIN_COSINE:
            found.append(f"its mean cosine to the original is {self.cosine:.5f}; {MIN_COSINE} is the least")
        if self.ndcg_loss >= MAX_NDCG_LOSS:
            found.append(f"it loses {self.ndcg_loss:.4f} of {PRIMARY}; less than {MAX_NDCG_LOSS} is allowed")
        return found


def make(kind: str, model: bytes, calibration: NDArray[np.uint8]) -> bytes:
    """Make a variant of an ONNX file. ``calibration``, uint8 [n, 224, 224, 3], is used for int8 only."""
    if kind == "fp16":
        return fp16(model)
    return int8_dynamic(model) if kind == "int8-dynamic" else int8(model, calibration)


def fp16(model: bytes) -> bytes:
    """Store weights and compute in half precision. Pixels stay uint8 and embeddings float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(onnx.load_from_string(model), keep_io_types=True)
    return bytes(half.SerializeToString())


def int8(model: bytes, calibration: NDArray[np.uint8]) -> bytes:
    """Quantise convolutions and the last layer to 8 bits, with activation ranges from the calibration pictures."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if len(calibration) < BATCH:
        raise ConfigurationError(
            f"int8 needs {BATCH} pictures or more to calibrate with, but there are {len(calibration)}."
        )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            whole = len(calibration) // BATCH * BATCH
            self.parts: Iterator[int] = iter(range(0, whole, BATCH))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            start = next(self.parts, None)
            return None if start is None else {"pixels": calibration[start : start + BATCH]}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        given, simple, made = (Path(folder) / name for name in ("given.onnx", "simple.onnx", "made.onnx"))
        given.write_bytes(model)
        quant_pre_process(str(given), str(simple), skip_symbolic_shape=True)
        quantize_static(
            str(simple),
            str(made),
            Reader(),
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            op_types_to_quantize=["Conv", "Clip", "Add", "Gemm", "MatMul"],
        )
        return made.read_bytes()


def int8_dynamic(model: bytes) -> bytes:
    """Quantise the weights of matrix products to 8 bits, with activation ranges from each batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, _quiet():
        given, made = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
        given.write_bytes(model)
        quantize_dynamic(str(given), str(made), weight_type=QuantType.QInt8, op_types_to_quantize=["Gemm", "MatMul"])
        return made.read_bytes()


def compare(original: bytes, variant: bytes, one: EvaluationSet, pixels: Path | None = None) -> Verdict:
    """Compare a variant with its original on an evaluation set."""
    shown, _, _ = pixels_of(one.corpus, cache=pixels)
    embeds = onnx_embed(original), onnx_embed(variant)
    ours, theirs = (embeddings_of(shown, embed) for embed in embeds)
    cosine = (ours * theirs).sum(1)
    before, after = (evaluate.on_set(one, embed, pixels=pixels)[0].overall[PRIMARY].mean for embed in embeds)
    return Verdict(float(cosine.mean()), float(cosine.min()), after, before - after)


class _quiet:  # noqa: N801 - used as a function
    """Suppress the quantiser's warnings in the log."""

    def __enter__(self) -> None:
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(logging.NOTSET)


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit status, 1 if a variant is refused."""
    parser = argparse.ArgumentParser(prog="export.variants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="an ONNX file of ours, with its JSON file beside it")
    parser.add_argument("--judge", type=Path, required=True, help="a folder of category folders to compare on")
    parser.add_argument("--calibrate", type=Path, help="a folder of other pictures, for int8")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["fp16", "int8"])
    arguments = parser.parse_args(words)
    try:
        refused = [kind for kind in arguments.kinds if not _made(kind, arguments)]
    except VisualSearchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 1 if refused else 0


def _made(kind: str, arguments: argparse.Namespace) -> bool:
    """Make a variant and write it if it passes the gate; return whether it did."""
    original = arguments.model.read_bytes()
    verdict_on = from_folders(arguments.judge)
    variant = make(kind, original, _calibration(arguments) if kind == "int8" else np.empty(0, np.uint8))
    verdict = compare(original, variant, verdict_on)
    if verdict.reasons:
        print(f"{kind} is refused: {'; '.join(verdict.reasons)}.", file=sys.stderr)  # noqa: T201
        return False
    out = arguments.model.with_suffix(f".{kind}.onnx")
    out.write_bytes(variant)
    beside = arguments.model.with_suffix(".json")
    about = json.loads(beside.read_text()) if beside.exists() else {}
    facts = {
        "kind": kind,
        "cosine": verdict.cosine,
        "least_cosine": verdict.least_cosine,
        "ndcg_loss": verdict.ndcg_loss,
    }
    out.with_suffix(".json").write_text(json.dumps({**about, "variant": facts}, indent=2) + "\n")
    print(f"{out}: cosine {verdict.cosine:.5f}, {PRIMARY} lost {verdict.ndcg_loss:.4f}, {len(variant)} bytes")  # noqa: T201
    return True


def _calibration(arguments: argparse.Namespace) -> NDArray[np.uint8]:
    if not arguments.calibrate:
        raise ConfigurationError("int8 needs --calibrate, a folder of pictures to see the ranges of activations on.")
    files = picture_files(arguments.calibrate)
    some = dict(list(files.items())[:: -(-len(files) // CALIBRATED_ON)])
    return pixels_of(some)[0]


if __name__ == "__main__":
    sys.exit(main())
