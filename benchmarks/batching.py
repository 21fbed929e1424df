"""Served encoding beside raw ONNX Runtime on as many threads, by Triton's batching settings.

    python -m benchmarks.batching

Each setting is loaded into the running stack's Triton beside the encoder that it serves. They and ONNX Runtime in this
process take turns, so that whatever else the machine does disturbs all alike; what counts is the best turn of each.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import tritonclient.grpc.aio as triton
from rich.progress import track

from benchmarks.table import write
from visualsearch.domain import EMBEDDING_DIM, IMAGE_SIDE
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CORES = os.cpu_count() or 1
TURNS, TURN_S = 4, 1.2
RAW_BATCH = 16


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to serve; the first in the table is that of config.pbtxt."""

    max_batch: int = 64
    delay_us: int = 0
    instances: int = 1
    threads: int = CORES
    piece: int = 16

    def config(self) -> str:
        """Write it as Triton's model configuration."""
        parameters = {"intra_op_thread_count": str(self.threads), "piece": str(self.piece)}
        config = {
            "backend": "onnxruntime",
            "max_batch_size": self.max_batch,
            "input": [{"name": "pixels", "data_type": "TYPE_UINT8", "dims": [IMAGE_SIDE, IMAGE_SIDE, 3]}],
            "output": [{"name": "embedding", "data_type": "TYPE_FP32", "dims": [EMBEDDING_DIM]}],
            "instance_group": [{"count": self.instances, "kind": "KIND_CPU"}],
            "dynamic_batching": {"max_queue_delay_microseconds": self.delay_us},
            "parameters": {name: {"string_value": value} for name, value in parameters.items()},
        }
        return json.dumps(config)


SETTINGS = (
    Setting(),
    *(Setting(max_batch=size) for size in (8, 16, 32)),
    *(Setting(delay_us=delay) for delay in (500, 2000)),
    *(Setting(piece=piece) for piece in (4, 8, 32)),
    Setting(instances=2),
    Setting(instances=CORES, threads=1),
    Setting(instances=CORES, threads=1, piece=4),
)
LOADS = {"1 x 1": (1, 1), "8 x 1": (8, 1), "32 x 1": (32, 1), "2 x 16": (2, 16)}
"""Requests in flight, and pictures in each: one search, some, many, and two batches of an indexer."""


async def served(client: triton.InferenceServerClient, name: str, in_flight: int, size: int) -> float:
    """Encode through Triton for a turn; return pictures a second."""
    tensor = triton.InferInput("pixels", [size, IMAGE_SIDE, IMAGE_SIDE, 3], "UINT8")
    tensor.set_data_from_numpy(np.random.default_rng(0).integers(0, 256, tensor.shape(), np.uint8))
    end, done = time.perf_counter() + TURN_S, 0

    async def ask() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await client.infer(name, [tensor])
            done += size

    begin = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(in_flight)))
    return done / (time.perf_counter() - begin)


def raw(session: onnxruntime.InferenceSession, size: int) -> float:
    """Encode in this process for a turn; return pictures a second."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    begin, done = time.perf_counter(), 0
    while time.perf_counter() < begin + TURN_S:
        session.run(["embedding"], {"pixels": pixels})
        done += size
    return done / (time.perf_counter() - begin)


def session(model: bytes) -> onnxruntime.InferenceSession:
    """Load the encoder with the options that it is served with."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


async def measure(settings: Settings, model: bytes) -> dict[tuple[object, str], float]:
    """Let all take turns; return the best rate by setting (raw: its batch) and load."""
    headers = {"triton-grpc-protocol-admin-key": settings.triton_admin_key.get_secret_value()}
    names = {setting: f"batching_{number}" for number, setting in enumerate(SETTINGS)}
    own = session(model)
    best: dict[tuple[object, str], float] = defaultdict(float)

    async def turn(key: tuple[object, str], work: Callable[[], Awaitable[float]]) -> None:
        best[key] = max(best[key], await work())

    async with triton.InferenceServerClient(settings.triton_grpc) as client:
        try:
            for setting, name in names.items():
                files = {"file:1/model.onnx": model}
                await client.load_model(name, headers=headers, config=setting.config(), files=files)
            for _ in track(range(TURNS), "taking turns"):
                for load, (in_flight, size) in LOADS.items():
                    for raw_size in {1, RAW_BATCH}:
                        await turn(("raw", str(raw_size)), lambda size=raw_size: asyncio.to_thread(raw, own, size))  # type: ignore[misc]
                    for setting, name in names.items():
                        if size > setting.max_batch:
                            continue
                        await turn((setting, load), lambda name=name, a=in_flight, b=size: served(client, name, a, b))  # type: ignore[misc]
        finally:
            for name in names.values():
                await client.unload_model(name, headers=headers)
    return best


def _cell(rate: float, floor: float) -> str:
    return f"{rate:.0f} ({rate / floor:.2f})" if rate else "-"


def main() -> None:
    """Sweep and write the table."""
    settings = Settings.load()
    path = settings.model_repository / settings.model_name / str(settings.model_version) / "model.onnx"
    best = asyncio.run(measure(settings, path.read_bytes()))
    floor, one = best["raw", str(RAW_BATCH)], best["raw", "1"]
    rows = [
        (
            *(setting.max_batch, setting.delay_us, f"{setting.instances} x {setting.threads}", setting.piece),
            *(_cell(best[setting, load], floor) for load in LOADS),
        )
        for setting in SETTINGS
    ]
    heading = ("max batch", "delay us", "instances x threads", "piece", *LOADS)
    note = (
        "Pictures a second; in brackets over ONNX Runtime's own in batches of "
        f"{RAW_BATCH} on {CORES} threads, {floor:.0f} (one by one: {one:.0f}). Loads are requests in flight x pictures "
        "in each; `piece` is how many of a batch the local backend runs at once. The client that sends the pictures "
        f"shares the cores. Best of {TURNS} turns of {TURN_S:g} s; the first row is how config.pbtxt serves."
    )
    write("batching", "Served encoding beside ONNX Runtime", "python -m benchmarks.batching", heading, rows, note)


if __name__ == "__main__":
    main()
