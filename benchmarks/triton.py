"""Run any ONNX file in the running stack's Triton, next to the served encoder."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tritonclient.grpc import InferenceServerClient, InferInput

from visualsearch.domain.images import EMBEDDING_DIM, IMAGE_SIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from evaluation.offline.embeddings import Embed
    from visualsearch.settings import Settings

MAX_BATCH = 32


@contextmanager
def loaded(settings: Settings, model: bytes, name: str) -> Iterator[Embed]:
    """Load a model through Triton's API, which uploads the file; yield its embedding function; unload it at the end."""
    key = settings.triton_admin_key.get_secret_value()
    headers = {"triton-grpc-protocol-admin-key": key}
    config = {
        "backend": "onnxruntime",
        "max_batch_size": MAX_BATCH,
        "input": [{"name": "pixels", "data_type": "TYPE_UINT8", "dims": [IMAGE_SIDE, IMAGE_SIDE, 3]}],
        "output": [{"name": "embedding", "data_type": "TYPE_FP32", "dims": [EMBEDDING_DIM]}],
        "instance_group": [{"count": 1, "kind": "KIND_CPU"}],
        "dynamic_batching": {},
    }
    with InferenceServerClient(settings.triton_grpc) as client:
        files = {"file:1/model.onnx": model}
        client.load_model(name, headers=headers, config=json.dumps(config), files=files)

        def embed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            given = InferInput("pixels", pixels.shape, "UINT8").set_data_from_numpy(pixels)
            embedding: NDArray[np.float32] = client.infer(name, [given]).as_numpy("embedding")
            return embedding

        try:
            yield embed
        finally:
            client.unload_model(name, headers=headers)
