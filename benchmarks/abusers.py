"""Clients that take as much of a gateway as they get: `python -m benchmarks.abusers`, run by `benchmarks.fairness`.

Reads a plan as JSON from standard input: ``host``, ``port``, ``seconds``, ``clients`` (a list of kinds, one client
each), ``keys`` by kind, and ``images``, ids whose thumbnails are asked for. Writes counts and its own CPU time as JSON.
The requests are built once and go over raw connections, so that the clients themselves cost little.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import uvloop
from PIL import Image
from typing_extensions import override

from benchmarks.load import FORM_TYPE, form

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN_S = 0.05
"""When a client comes again after a refusal or a lost connection, whatever Retry-After says."""
TRICKLE_S = 0.5
SLOW_HEADER = b"x"
FORM_BYTES = 300
"""Of a form, up to the picture's first bytes."""
SLOW_BODY_BYTES = 1024
"""Just as much in a second as a gateway asks of a body that it waits for."""
SMALL, LARGE = (64, 64), (8000, 6000)
"""48 megapixels are just below the limit."""
THUMBNAILS = range(64, 1024)
OK = range(200, 400)
WITHOUT_ANSWER = "no answer"


def picture(size: tuple[int, int]) -> bytes:
    """Return a JPEG file of a soft pattern."""
    patches = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(patches).resize(size, Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def request(line: str, key: str, body: bytes = b"", length: int | None = None) -> bytes:
    """Return the bytes of a request; ``length`` announces another length than the body's."""
    head = f"{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
    if body or length:
        head += f"content-type: {FORM_TYPE}\r\ncontent-length: {length or len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Client(asyncio.Protocol):
    """Sends one request after the other over one connection, as fast as it is answered, until the connection ends."""

    def __init__(self, following: Callable[[], bytes], counts: Counter[str]) -> None:
        self._following = following
        self._counts = counts
        self._buffer = b""
        self._expected = 0
        self.lost = asyncio.get_running_loop().create_future()

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._send()

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._expected and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
            self._expected = end + 4 + int(length or 0)
        if self._expected and len(self._buffer) >= self._expected:
            status = int(self._buffer[9:12])
            self._counts[str(status)] += 1
            self._buffer, self._expected = b"", 0
            if status in OK:
                self._send()
            else:
                asyncio.get_running_loop().call_later(AGAIN_S, self._send)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def _send(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._following())


class Trickle(Client):
    """Sends the beginning of a request, and then a few bytes now and then."""

    def __init__(self, beginning: bytes, piece: bytes, counts: Counter[str]) -> None:
        super().__init__(lambda: beginning, counts)
        self._piece = piece

    @override
    def _send(self) -> None:
        super()._send()
        asyncio.get_running_loop().call_later(TRICKLE_S, self._more)

    def _more(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._piece)
            asyncio.get_running_loop().call_later(TRICKLE_S, self._more)


def makers(plan: dict[str, Any], counts: dict[str, Counter[str]]) -> dict[str, Callable[[str], Client]]:
    """Return by kind what makes a client with a key."""
    small, large = form(picture(SMALL)), form(picture(LARGE))
    chance = random.Random(0)

    def thumbnail(key: str) -> bytes:
        return request(f"GET /images/{chance.choice(plan['images'])}/content?size={chance.choice(THUMBNAILS)}", key)

    def posting(kind: str, body: bytes) -> Callable[[str], Client]:
        def make(key: str) -> Client:
            whole = request("POST /search", key, body)
            return Client(lambda: whole, counts[kind])

        return make

    return {
        "small searches": posting("small searches", small),
        "large pictures": posting("large pictures", large),
        "thumbnails": lambda key: Client(lambda: thumbnail(key), counts["thumbnails"]),
        "slow headers": lambda _: Trickle(b"GET /stats HTTP/1.1\r\nx: ", SLOW_HEADER, counts["slow headers"]),
        "slow bodies": lambda key: Trickle(
            request("POST /search", key, small[:FORM_BYTES], 20_000_000), b"x" * SLOW_BODY_BYTES, counts["slow bodies"]
        ),
        "wrong keys": lambda _: Client(
            lambda: request("GET /stats", f"{chance.getrandbits(64):x}"), counts["wrong keys"]
        ),
        "/ready": lambda key: Client(lambda: request("GET /ready", key), counts["/ready"]),
    }


async def abuse(plan: dict[str, Any]) -> dict[str, Any]:
    """Run the clients for ``seconds``; return the answers by kind and status, and the CPU seconds used."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in plan["clients"]}
    loop = asyncio.get_running_loop()
    make = makers(plan, {kind: counts.get(kind, Counter()) for kind in plan["keys"]})

    async def persist(kind: str, key: str) -> None:
        while True:
            try:
                _, client = await loop.create_connection(lambda: make[kind](key), plan["host"], plan["port"])
                await client.lost
            except OSError:
                counts[kind][WITHOUT_ANSWER] += 1
            await asyncio.sleep(AGAIN_S)

    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    print("begun", flush=True)
    tasks = []
    for number, kind in enumerate(plan["clients"]):
        keys = plan["keys"][kind]
        tasks.append(asyncio.create_task(persist(kind, keys[number % len(keys)])))
    await asyncio.sleep(plan["seconds"])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    used_s = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
    return {"counts": counts, "cpu_s": used_s, "seconds": time.perf_counter() - begin}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(abuse(json.load(sys.stdin)))))
