"""A Triton backend named ``onnxruntime``, written on Triton's Python backend and the onnxruntime package.

NVIDIA's container has a native backend of this name (``backend: "onnxruntime"``); the Triton binary used here has not.
With this file the binary serves the same model repository. Triton loads the file in its stub process.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

PIECE = 4
"""Pictures that one core runs at once. Larger batches do not fit into its caches (docs/performance.md)."""


class TritonPythonModel:
    """Runs ``<version>/model.onnx``; dynamic batches arrive as several requests and run as one."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model. On an exception Triton keeps the version that is already loaded."""
        config = json.loads(args["model_config"])
        given = config["parameters"]
        self._threads = int(given.get("intra_op_thread_count", {}).get("string_value", "0")) or os.cpu_count() or 1
        self._piece = int(given.get("piece", {}).get("string_value", PIECE))
        model = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._together = _session(model, self._threads)
        self._apart = _session(model, 1) if self._threads > 1 else self._together
        self._pool = ThreadPoolExecutor(self._threads)
        self._input = config["input"][0]["name"]
        self._given = {output.name for output in self._together.get_outputs()}

    def execute(self, requests: list) -> list:
        """Run all requests as one batch and return to each its rows of the requested outputs.

        Tensors are passed by DLPack in both directions. The stub was built for numpy 1, and with numpy 2 its own
        conversions silently give wrong values.
        """
        arrays = [np.from_dlpack(pb_utils.get_input_tensor_by_name(request, self._input)) for request in requests]
        batch = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        asked = [request.requested_output_names() for request in requests]
        columns = self._run(batch, sorted(self._given.intersection(set().union(*asked))))
        ends = np.cumsum([len(array) for array in arrays])
        rows = zip(ends - [len(array) for array in arrays], ends, strict=True)
        return [self._response(names, columns, *where) for names, where in zip(asked, rows, strict=True)]

    def _run(self, batch: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
        """Run a batch and return the outputs of these names.

        The batch is divided into equal parts, one per core, so that the cores need not synchronize at every operator.
        All cores together run the remainder, and also a single picture.
        """
        if not names:
            return {}
        each = len(batch) // self._threads
        even = [batch[core * each : (core + 1) * each] for core in range(self._threads)] if each else []
        outputs = [part for parts in self._pool.map(lambda own: self._pieces(own, names), even) for part in parts]
        if rest := len(batch) - each * self._threads:
            outputs.append(self._together.run(names, {self._input: batch[-rest:]}))
        return {name: np.concatenate(parts) for name, parts in zip(names, zip(*outputs, strict=True), strict=True)}

    def _pieces(self, own: np.ndarray, names: list[str]) -> list[list[np.ndarray]]:
        pieces = [own[begin : begin + self._piece] for begin in range(0, len(own), self._piece)]
        return [self._apart.run(names, {self._input: piece}) for piece in pieces]

    def _response(
        self, names: list[str], columns: dict[str, np.ndarray], begin: int, end: int
    ) -> pb_utils.InferenceResponse:
        """Return rows ``begin`` to ``end`` of the outputs, or an error if this version lacks one of them."""
        missing = sorted(set(names) - self._given)
        if missing:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(f"unexpected inference output '{missing[0]}': this version gives none")
            )
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor.from_dlpack(name, columns[name][begin:end]) for name in names]
        )


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the cores from Milvus and the gateway between two batches.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _unraisable(trouble: object) -> None:
    """Suppress one harmless warning in the log, and report every other.

    The stub gives a used DLPack capsule an unexpected name, and numpy reports this whenever it frees one.
    """
    if "PyCapsule_GetPointer" not in str(getattr(trouble, "exc_value", "")):
        sys.__unraisablehook__(trouble)


sys.unraisablehook = _unraisable
