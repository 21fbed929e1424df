"""The time that the gateway adds to decoding, Triton and Milvus: `python -m benchmarks.search`.

Run one search at a time, and for each the same picture through the three stages called directly in this process.
Requires a running stack with the demo corpus on the same machine.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import orjson
from rich.progress import track

from benchmarks.load import FORM_TYPE, K, form
from benchmarks.local_stack import stack_settings
from benchmarks.stages import Stages, stages
from benchmarks.table import write
from visualsearch.settings import Settings

PICTURES = Path(__file__).parents[1] / "demo" / "pictures"
WARM, COUNTED = 30, 300
STAGES = ("decode", "embed", "ann", "rank")


def ask(gateway: http.client.HTTPConnection, picture: bytes) -> dict[str, float]:
    """Search; return milliseconds by stage, and in total as seen by the client.

    Uses a minimal HTTP client, so that the time is that of the gateway.
    """
    body = form(picture)
    begin = time.perf_counter()
    gateway.request("POST", "/search", body, {"Content-Type": FORM_TYPE})
    answer = gateway.getresponse()
    text = answer.read()
    taken = (time.perf_counter() - begin) * 1000
    assert answer.status == http.client.OK, text
    told = orjson.loads(text)
    return {f"gateway: {name}": told["timings_ms"][name] for name in STAGES} | {
        "gateway: total": told["latency_ms"],
        "client: round trip": taken,
    }


async def directly(direct: Stages, picture: bytes) -> dict[str, float]:
    """Run the three stages one after the other; return milliseconds by stage."""
    times = [time.perf_counter()]
    prepared = direct.decode(picture)
    times.append(time.perf_counter())
    embedding = await direct.encode(prepared)
    times.append(time.perf_counter())
    await direct.nearest(embedding)
    times.append(time.perf_counter())
    names = ("directly: decode", "directly: Triton", "directly: Milvus")
    taken = {name: (end - begin) * 1000 for name, begin, end in zip(names, times, times[1:], strict=False)}
    return taken | {"directly: sum": sum(taken.values())}


async def measure(settings: Settings, pictures: list[bytes]) -> list[dict[str, float]]:
    """Measure the gateway and the stages for each picture, in random order."""
    address = urlsplit(settings.url)
    host, tls = address.hostname or "", settings.client_tls
    gateway = (
        http.client.HTTPSConnection(host, address.port, timeout=30, context=tls.context())
        if tls and address.scheme == "https"
        else http.client.HTTPConnection(host, address.port, timeout=30)
    )
    chance, measured = random.Random(0), []
    async with stages(settings) as direct:
        for picture in track(pictures, "searching"):
            taken: dict[str, float] = {}
            for through_gateway in chance.sample((True, False), 2):
                taken |= (
                    await asyncio.to_thread(ask, gateway, picture)
                    if through_gateway
                    else await directly(direct, picture)
                )
            measured.append(taken)
    gateway.close()
    return measured[WARM:]


def main() -> None:
    """Search with pictures of the corpus and write the table."""
    settings = stack_settings()
    files = sorted(file for file in PICTURES.rglob("*") if file.is_file())
    queries = [files[number * len(files) // (WARM + COUNTED)].read_bytes() for number in range(WARM + COUNTED)]
    measured = asyncio.run(measure(settings, queries))
    p50 = {name: float(np.median([one[name] for one in measured])) for name in sorted(measured[0])}
    rows = [(name, f"{p50[name]:.1f}", f"{np.percentile([one[name] for one in measured], 95):.1f}") for name in p50]
    added = np.median([one["client: round trip"] - one["directly: sum"] for one in measured])
    note = (
        f"{COUNTED} searches with k = {K} after {WARM} to warm up, one at a time, against a running stack. "
        f"The round trip's p50 is {p50['client: round trip'] - p50['directly: sum']:.1f} ms above the sum's; "
        f"picture by picture the median difference is {added:.1f} ms."
    )
    write("search", "Search latency by stage", "python -m benchmarks.search", ("stage", "p50 ms", "p95 ms"), rows, note)


if __name__ == "__main__":
    main()
