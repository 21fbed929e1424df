"""Compare served encoding, by Triton's batching settings, with raw ONNX Runtime on as many threads.

    python -m benchmarks.batching

Each setting is loaded into the running stack's Triton next to the served encoder. The settings and ONNX Runtime in this
process alternate, so that other load on the machine affects all equally. The table has the best round of each. On a
shared machine compare the CPU time per picture, because it depends least on the load of others.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
import onnxruntime
import tritonclient.grpc.aio as triton
from rich.progress import track

from benchmarks.local_stack import stack_settings
from benchmarks.stages import Processes
from benchmarks.table import write
from visualsearch.domain.images import EMBEDDING_DIM, IMAGE_SIDE
from visualsearch.settings import Settings

CORES = os.cpu_count() or 1
TURNS, TURN_S = 4, 1.2
RAW_BATCH = 16
PIECE = 4


@dataclass(frozen=True, slots=True)
class Setting:
    """A batching configuration. The first in the table is that of config.pbtxt."""

    max_batch: int = 64
    delay_us: int = 0
    instances: int = 1
    threads: int = CORES
    piece: int = PIECE

    def config(self) -> str:
        """Return it as a Triton model configuration."""
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
    *(Setting(piece=piece) for piece in (2, 8, 16)),
    Setting(instances=2),
    Setting(instances=CORES, threads=1),
)
LOADS = {"1 x 1": (1, 1), "8 x 1": (8, 1), "32 x 1": (32, 1), "2 x 16": (2, 16)}
"""Requests in flight, and pictures per request: one search, some, many, and two batches of an indexer."""


@dataclass(slots=True)
class Best:
    """The best of several rounds: pictures per second, and CPU milliseconds per picture (Triton's or our own).

    ``left`` is the share of the cores that the client left to the server in the best round.
    """

    rate: float = 0.0
    cpu_ms: float = float("inf")
    left: float = 1.0

    def take(self, pictures: int, seconds: float, cpu_s: float, client_s: float = 0) -> None:
        """Record a round."""
        if pictures / seconds > self.rate:
            self.rate, self.left = pictures / seconds, 1 - client_s / (seconds * CORES)
        self.cpu_ms = min(self.cpu_ms, 1000 * cpu_s / pictures)


async def served(client: triton.InferenceServerClient, name: str, in_flight: int, size: int) -> tuple[int, float]:
    """Encode through Triton for one round; return pictures and seconds."""
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
    return done, time.perf_counter() - begin


def raw(session: onnxruntime.InferenceSession, size: int) -> tuple[int, float]:
    """Encode in this process for one round; return pictures and seconds."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    begin, done = time.perf_counter(), 0
    while time.perf_counter() < begin + TURN_S:
        session.run(["embedding"], {"pixels": pixels})
        done += size
    return done, time.perf_counter() - begin


def raw_apart(session: onnxruntime.InferenceSession) -> tuple[int, float]:
    """Encode on each core separately for one round, ``PIECE`` pictures at once; return pictures and seconds."""
    with ThreadPoolExecutor(CORES) as cores:
        turns = [*cores.map(lambda _: raw(session, PIECE), range(CORES))]
    return sum(pictures for pictures, _ in turns), max(seconds for _, seconds in turns)


def session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """Load the encoder with the options of serving."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


async def measure(settings: Settings, model: bytes) -> dict[tuple[object, str], Best]:
    """Alternate between all settings; return the best by setting and load, and by ("raw", batch) for ONNX Runtime."""
    headers = {"triton-grpc-protocol-admin-key": settings.triton_admin_key.get_secret_value()}
    names = {setting: f"batching_{number}" for number, setting in enumerate(SETTINGS)}
    best: dict[tuple[object, str], Best] = defaultdict(Best)
    async with triton.InferenceServerClient(settings.triton_grpc) as client:
        try:
            for setting, name in names.items():
                files = {"file:1/model.onnx": model}
                await client.load_model(name, headers=headers, config=setting.config(), files=files)
            processes, own, narrow = Processes(settings), session(model, CORES), session(model, 1)
            for _, load in track([*product(range(TURNS), LOADS)], "taking turns"):
                for size in (1, RAW_BATCH):
                    before = time.process_time()
                    turn = await asyncio.to_thread(raw, own, size)
                    best["raw", str(size)].take(*turn, time.process_time() - before)
                before = time.process_time()
                turn = await asyncio.to_thread(raw_apart, narrow)
                best["raw", "apart"].take(*turn, time.process_time() - before)
                for setting, name in names.items():
                    if LOADS[load][1] <= setting.max_batch:
                        began, before = processes.cpu_s()["triton"], time.process_time()
                        turn = await served(client, name, *LOADS[load])
                        client_s = time.process_time() - before
                        best[setting, load].take(*turn, processes.cpu_s()["triton"] - began, client_s)
        finally:
            for name in names.values():
                await client.unload_model(name, headers=headers)
    return best


def main() -> None:
    """Run the sweep and write the table."""
    settings = stack_settings()
    path = settings.model_repository / settings.model_name / str(settings.model_version) / "model.onnx"
    best = asyncio.run(measure(settings, path.read_bytes()))
    floor, one, apart = (best["raw", kind] for kind in (str(RAW_BATCH), "1", "apart"))
    rows = [
        (
            *(setting.max_batch, setting.delay_us, f"{setting.instances} x {setting.threads}", setting.piece),
            *(_cell(best[setting, load], floor) if (setting, load) in best else "-" for load in LOADS),
        )
        for setting in SETTINGS
    ]
    heading = ("max batch", "delay us", "instances x threads", "piece", *LOADS)
    note = (
        f"Pictures a second, and Triton's CPU ms for a picture. In brackets: over ONNX Runtime's rate in batches of "
        f"{RAW_BATCH} on {CORES} threads, and over that of the share of the cores which the client left, for it sends "
        f"the pictures from the same. ONNX Runtime: {floor.rate:.0f} a second, {floor.cpu_ms:.1f} ms; one by one "
        f"{one.rate:.0f}, {one.cpu_ms:.1f} ms; a thread for each core with {PIECE} at once {apart.rate:.0f}, "
        f"{apart.cpu_ms:.1f} ms. Loads are requests in flight x pictures in each; `piece` is how many pictures a core "
        f"of the local backend runs at once. Best of {TURNS} turns of {TURN_S:g} s; the first row is how "
        "config.pbtxt serves."
    )
    write("batching", "Served encoding beside ONNX Runtime", "python -m benchmarks.batching", heading, rows, note)


def _cell(best: Best, floor: Best) -> str:
    ratio = best.rate / floor.rate
    return f"{best.rate:.0f} ({ratio:.2f}; {ratio / best.left:.2f}), {best.cpu_ms:.1f} ms"


if __name__ == "__main__":
    main()
