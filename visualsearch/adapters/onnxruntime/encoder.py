"""The encoder in this process, with ONNX Runtime: for platforms without a Triton wheel."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from typing_extensions import override

from visualsearch.adapters.model_card import read_card
from visualsearch.domain.errors import ConfigurationError, Unavailable, Unsupported
from visualsearch.domain.images import IMAGE_SIDE
from visualsearch.ports import Encoder, ModelControl

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class OnnxRuntimeEncoder(Encoder):
    """Embeds pictures with ``<model>/<version>/model.onnx``, one batch at a time, in a thread."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._session = cache(self._load)

    @override
    async def encode(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        return await self._off_loop(pixels, model_version, "embedding")

    @override
    async def feature_map(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        return await self._off_loop(pixels, model_version, "feature_map")

    async def _off_loop(self, pixels: NDArray[np.uint8], model_version: int, output: str) -> NDArray[np.float32]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, pixels, model_version, output)

    def _run(self, pixels: NDArray[np.uint8], model_version: int, output: str) -> NDArray[np.float32]:
        session = self._session(model_version)
        if output not in {one.name for one in session.get_outputs()}:
            raise Unsupported(f"Model version {model_version} gives no {output}: export it anew.")
        rows: NDArray[np.float32] = session.run([output], {"pixels": pixels})[0]
        return rows

    def _load(self, model_version: int) -> onnxruntime.InferenceSession:
        file = self._model / str(model_version) / "model.onnx"
        if not file.exists():
            raise Unavailable("The encoder", f"there is no model version {model_version}")
        return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    @override
    async def check(self, model_version: int) -> None:
        await self.encode(np.full((1, IMAGE_SIDE, IMAGE_SIDE, 3), 128, np.uint8), model_version)

    @override
    async def fingerprint(self, model_version: int) -> str:
        return read_card(self._model, model_version).fingerprint

    @override
    async def duplicate_cosine(self, model_version: int) -> float | None:
        return read_card(self._model, model_version).duplicate_cosine

    @override
    async def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=False)


class OnnxRuntimeModelControl(ModelControl):
    """Model control without a server: every version in the model repository can be used, and is loaded on demand."""

    def __init__(self, model: Path) -> None:
        self._model = model

    @override
    async def served(self) -> set[int]:
        return {int(file.parent.name) for file in self._model.glob("*/model.onnx") if file.parent.name.isdigit()}

    @override
    async def serve(self, versions: set[int]) -> None:
        """Raise ``ConfigurationError`` if a version is missing."""
        if missing := versions - await self.served():
            raise ConfigurationError(f"Version {sorted(missing)} is not in {self._model}; publish it first.")

    @override
    async def close(self) -> None:
        """Do nothing: there is no connection."""
