"""The encoder, served by Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException
from typing_extensions import override

from visualsearch.adapters.model_card import read_card
from visualsearch.adapters.triton.connection import connection
from visualsearch.domain.errors import Overloaded, Unavailable, Unsupported
from visualsearch.domain.images import EMBEDDING_DIM, IMAGE_SIDE
from visualsearch.domain.search import Priority
from visualsearch.ports import Encoder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from visualsearch.tls import ClientTLS

MAX_BATCH = 16
"""Pictures in one request; at most ``max_batch_size`` in config.pbtxt. Larger batches cost a CPU more per picture, and
make searches wait longer."""

CHANNEL = [
    # If the name resolves to several servers, send requests to each in turn.
    ("grpc.lb_policy_name", "round_robin"),
    # Reconnect within a second, instead of gRPC's maximum of two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
SHED = ("Exceeds maximum queue size", "Request timeout expired")
"""Triton's messages for a full queue and for a request that timed out in the queue."""
UNKNOWN_OUTPUT = "unexpected inference output"
"""Triton's message if a model has no such output."""


class TritonEncoder(Encoder):
    """Embeds pictures through Triton's gRPC API. Each request names a model version.

    ``address`` is host:port, or grpcs://host:port for TLS. ``cards`` is the model's folder in the model repository: a
    version's fingerprint is in its ``card.json``, which Triton does not serve. ``priority`` is a level of config.pbtxt.
    """

    def __init__(
        self,
        address: str,
        model: str,
        timeout_s: float,
        cards: Path | None = None,
        priority: Priority = Priority.SEARCHING,
        tls: ClientTLS | None = None,
    ) -> None:
        self._client = connection(address, tls, CHANNEL)
        self._model = model
        self._timeout_s = timeout_s
        self._cards = cards
        self._priority = priority

    @override
    async def encode(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        parts = [
            await self._infer(pixels[begin : begin + MAX_BATCH], model_version, "embedding")
            for begin in range(0, len(pixels), MAX_BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, EMBEDDING_DIM), np.float32)

    @override
    async def feature_map(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        return await self._infer(pixels, model_version, "feature_map")

    async def _infer(self, pixels: NDArray[np.uint8], model_version: int, output: str) -> NDArray[np.float32]:
        tensor = triton.InferInput("pixels", list(pixels.shape), "UINT8")
        tensor.set_data_from_numpy(pixels)
        try:
            answer = await self._client.get().infer(
                self._model,
                [tensor],
                outputs=[triton.InferRequestedOutput(output)],
                model_version=str(model_version),
                client_timeout=self._timeout_s,
                priority=self._priority,
            )
        except InferenceServerException as error:
            if any(words in str(error) for words in SHED):
                raise Overloaded("The encoder has more work than it can do in time. Try again shortly.") from None
            if UNKNOWN_OUTPUT in str(error):
                raise Unsupported(
                    f"Model version {model_version} gives no {output}: it was exported without one, or another version "
                    "that is served has one of another shape."
                ) from None
            raise Unavailable("Triton", str(error)[:200]) from None
        rows: NDArray[np.float32] = answer.as_numpy(output)
        return rows

    @override
    async def check(self, model_version: int) -> None:
        await self._infer(np.full((1, IMAGE_SIDE, IMAGE_SIDE, 3), 128, np.uint8), model_version, "embedding")

    @override
    async def fingerprint(self, model_version: int) -> str:
        return read_card(self._cards, model_version).fingerprint

    @override
    async def duplicate_cosine(self, model_version: int) -> float | None:
        return read_card(self._cards, model_version).duplicate_cosine

    @override
    async def close(self) -> None:
        await self._client.close()
