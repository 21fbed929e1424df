"""A Triton backend named ``onnxruntime``, written on Triton's Python backend and the onnxruntime package.

With it the very model repository that NVIDIA's container serves natively (``backend: "onnxruntime"``) is served by the
Triton binary that has no such backend. Triton loads this file in its stub process.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

PIECE = 16
"""Pictures that run at once: on a CPU more of them leave its caches, and cost 5 to 10% more each."""


class TritonPythonModel:
    """Runs ``<version>/model.onnx``; dynamic batches arrive as several requests and run as one."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model; an exception here makes Triton keep the version that it has."""
        config = json.loads(args["model_config"])
        options = onnxruntime.SessionOptions()
        threads = config["parameters"].get("intra_op_thread_count", {}).get("string_value", "0")
        options.intra_op_num_threads = int(threads)
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores from Milvus and the gateway between two batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input = config["input"][0]["name"]
        self._output = config["output"][0]["name"]

    def execute(self, requests: list) -> list:
        """Run all requests as one batch and hand each its rows.

        Tensors cross by DLPack both ways: the stub was built for numpy 1, and its own conversions give wrong values
        with numpy 2 without an error.
        """
        arrays = [np.from_dlpack(pb_utils.get_input_tensor_by_name(request, self._input)) for request in requests]
        batch = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        pieces = [batch[begin : begin + PIECE] for begin in range(0, len(batch), PIECE)]
        rows = np.concatenate([self._session.run([self._output], {self._input: piece})[0] for piece in pieces])
        ends = np.cumsum([len(array) for array in arrays])
        parts = np.split(rows, ends[:-1])
        return [pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(self._output, part)]) for part in parts]


def _unraisable(trouble: object) -> None:
    """Keep the log clean of one harmless complaint, and report the rest.

    The stub gives a used DLPack capsule another name than numpy expects; numpy says so whenever it drops one.
    """
    if "PyCapsule_GetPointer" not in str(getattr(trouble, "exc_value", "")):
        sys.__unraisablehook__(trouble)


sys.unraisablehook = _unraisable
