"""The encoder as Triton serves it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from visualsearch.domain.errors import Overloaded, Unavailable, Unsupported
from visualsearch.domain.images import EMBEDDING_DIM, IMAGE_SIDE
from visualsearch.domain.search import Priority

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_BATCH = 16
"""Pictures in one request; not above ``max_batch_size`` in config.pbtxt. Larger ones cost a CPU more for each picture,
and keep a search waiting for longer."""

CHANNEL = [
    # Where several servers stand behind the name, requests go to each in turn.
    ("grpc.lb_policy_name", "round_robin"),
    # A server that was away is found again within a second, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
SHED = ("Exceeds maximum queue size", "Request timeout expired")
"""How Triton words that its queue is full, or that a request waited in it for too long."""
UNKNOWN_OUTPUT = "unexpected inference output"
"""How Triton words that a model has no such output."""


class TritonEncoder:
    """Embeds pictures through Triton's gRPC interface, each request pinned to a model version.

    ``address`` is host:port. ``cards`` is the model's folder in the model repository: the fingerprint of a version lies
    in its ``card.json``, which Triton itself does not serve. ``priority`` is a level of config.pbtxt.
    """

    def __init__(
        self,
        address: str,
        model: str,
        timeout_s: float,
        cards: Path | None = None,
        priority: Priority = Priority.SEARCHING,
    ) -> None:
        self._client = triton.InferenceServerClient(address, channel_args=CHANNEL)
        self._model = model
        self._timeout_s = timeout_s
        self._cards = cards
        self._priority = priority

    async def encode(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        """Embed uint8 [n, 224, 224, 3] as float32 [n, 256] of unit length.

        Raises ``Overloaded`` when Triton sheds the request, ``Unavailable`` when it does not answer.
        """
        parts = [
            await self._infer(pixels[begin : begin + MAX_BATCH], model_version, "embedding")
            for begin in range(0, len(pixels), MAX_BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, EMBEDDING_DIM), np.float32)

    async def feature_map(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        """Return the last feature maps of uint8 [n, 224, 224, 3], float32 [n, channels, rows, columns].

        ``n`` is at most ``MAX_BATCH``. Raises as ``encode``, and ``Unsupported`` where the model gives none.
        """
        return await self._infer(pixels, model_version, "feature_map")

    async def _infer(self, pixels: NDArray[np.uint8], model_version: int, output: str) -> NDArray[np.float32]:
        tensor = triton.InferInput("pixels", list(pixels.shape), "UINT8")
        tensor.set_data_from_numpy(pixels)
        try:
            answer = await self._client.infer(
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
                raise Unsupported(f"Model version {model_version} gives no {output}: export it anew.") from None
            raise Unavailable("Triton", str(error)[:200]) from None
        rows: NDArray[np.float32] = answer.as_numpy(output)
        return rows

    async def check(self, model_version: int) -> None:
        """Embed one grey picture; raise ``Unavailable`` if that fails."""
        await self._infer(np.full((1, IMAGE_SIDE, IMAGE_SIDE, 3), 128, np.uint8), model_version, "embedding")

    async def fingerprint(self, model_version: int) -> str:
        """Say which graph and preprocessing a version is, or ``""`` where no card tells."""
        return card_fingerprint(self._cards, model_version)

    async def close(self) -> None:
        """Close the channel."""
        await self._client.close()


def card_fingerprint(cards: Path | None, model_version: int) -> str:
    """Read a version's fingerprint from its model card; ``""`` where there is none."""
    card = cards / str(model_version) / "card.json" if cards else None
    if card is None or not card.exists():
        return ""
    fingerprint: str = json.loads(card.read_text())["fingerprint"]
    return fingerprint
