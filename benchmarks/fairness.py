"""A polite client beside fifty abusive ones: `python -m benchmarks.fairness`.

The polite client has a key and makes one search at a time, with a pause between two. Its latency is measured alone,
and then while fifty clients of one kind, and of all kinds together, take what they get. Uses a separate stack in a
temporary folder. ``--only KIND`` measures one kind; ``--home FOLDER`` uses a stack that `up` started with the same
keys.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from benchmarks.abusers import AGAIN_S, request
from benchmarks.indexing import CORES
from benchmarks.load import form
from benchmarks.table import write
from visualsearch.settings import Settings

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "demo" / "pictures"
KINDS = ("small searches", "large pictures", "thumbnails", "slow headers", "slow bodies", "wrong keys", "/ready")
TOGETHER = "all kinds together"
OWNERS = "small searches, a key each"
CLIENTS = 50
PAUSE_S = (0.1, 0.3)
"""The polite client waits so long between an answer and the next search."""
SEARCHES = 120
ALONE = 80
WARM = 20
SETTLE_S = 3.0
GOAL = 2.0
POLITE = "polite"


@dataclass(frozen=True, slots=True)
class Measured:
    """The polite client's latencies in ms, alone and beside others, and its failures; the answers of the others."""

    alone: list[float]
    latencies: list[float]
    failures: list[str]
    counts: dict[str, dict[str, int]]
    generator: float
    """Share of the machine's CPU time that the abusive clients take."""

    def percentiles(self) -> list[float]:
        """Return p50 and p95 alone, and p50 and p95 beside the others, in ms."""
        return [float(np.percentile(each or [0.0], part)) for each in (self.alone, self.latencies) for part in (50, 95)]


def key_of(owner: str) -> str:
    """Return the key of an owner: a made-up one, of a stack that lives for a benchmark."""
    return hashlib.sha256(f"benchmark {owner}".encode()).hexdigest()


def owners() -> list[str]:
    """Return who has a key: the polite client, each kind, and each client of a kind."""
    return [POLITE, *(f"{kind}-0".replace(" ", "-") for kind in KINDS), *(f"abuser-{n}" for n in range(CLIENTS))]


def api_keys() -> str:
    """Return the setting that makes these keys known."""
    keys = ((owner, hashlib.sha256(key_of(owner).encode()).hexdigest()) for owner in owners())
    return ",".join(f"{owner}:{'admin' if owner == POLITE else 'read'}:{digest}" for owner, digest in keys)


class Polite:
    """Searches over one connection, one search at a time."""

    def __init__(self, url: str, pictures: list[bytes]) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "", address.port or 80)
        self._requests = [request("POST /search", key_of(POLITE), form(picture)) for picture in pictures]
        self._chance = random.Random(0)
        self._socket: socket.socket | None = None

    def search(self) -> tuple[str, float]:
        """Search once; return the status, with the reason unless it is 200, and the milliseconds."""
        wanted = self._chance.choice(self._requests)
        begin = time.perf_counter()
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, 15)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(wanted)
            status = self._answer(self._socket)
        except (OSError, ValueError) as error:
            status = f"no answer: {error!r}"
            if self._socket is not None:
                self._socket.close()
                self._socket = None
        return status, (time.perf_counter() - begin) * 1000

    def _answer(self, connection: socket.socket) -> str:
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._some(connection)
        length = int(data[:end].lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(data) < end + 4 + length:
            data += self._some(connection)
        return "200" if data[9:12] == b"200" else data[end + 4 :].decode()

    def _some(self, connection: socket.socket) -> bytes:
        data = connection.recv(65536)
        if not data:
            raise ConnectionError
        return data

    def searches(self, count: int) -> tuple[list[float], list[str]]:
        """Search so often; return the latencies of the answers, and what came in place of one."""
        latencies, failures = [], []
        for _ in range(count):
            status, taken = self.search()
            if status == "200":
                latencies.append(taken)
            else:
                failures.append(status)
            time.sleep(self._chance.uniform(*PAUSE_S))
        return latencies, failures


def measure(polite: Polite, plan: dict[str, Any]) -> Measured:
    """Measure the polite client alone, and then while others follow a plan."""
    alone, failures = polite.searches(ALONE)
    abusers = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.abusers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert abusers.stdin is not None
    assert abusers.stdout is not None
    try:
        abusers.stdin.write(json.dumps(plan))
        abusers.stdin.close()
        abusers.stdout.readline()
        time.sleep(SETTLE_S)
        latencies, more = polite.searches(SEARCHES)
        told = json.loads(abusers.stdout.read())
    finally:
        abusers.kill()
        abusers.wait()
    return Measured(alone, latencies, failures + more, told["counts"], told["cpu_s"] / told["seconds"] / CORES)


def run(url: str, only: list[str]) -> dict[str, Measured]:
    """Measure each load, alone just before it since the machine's speed varies; return the results by kind."""
    headers = {"Authorization": f"Bearer {key_of(POLITE)}"}
    files = sorted(file for file in PICTURES.rglob("*") if file.is_file())
    polite = Polite(url, [file.read_bytes() for file in files[:: len(files) // 50]])
    found = httpx.post(
        f"{url}/search", headers=headers, files={"image": files[0].read_bytes()}, data={"k": "100"}, timeout=30
    )
    address = urlsplit(url)
    plan = {
        "host": address.hostname,
        "port": address.port,
        "images": [result["id"] for result in found.json()["results"]],
        "keys": {kind: [key_of(f"{kind}-0".replace(" ", "-"))] for kind in KINDS},
        "seconds": SETTLE_S + SEARCHES * (sum(PAUSE_S) / 2 + 0.15),
    }
    every = {"small searches": [key_of(f"abuser-{number}") for number in range(CLIENTS)]}
    loads: dict[str, dict[str, Any]] = {kind: {"clients": [kind] * CLIENTS} for kind in KINDS}
    loads[TOGETHER] = {"clients": [KINDS[number % len(KINDS)] for number in range(CLIENTS)]}
    loads[OWNERS] = {"clients": ["small searches"] * CLIENTS, "keys": plan["keys"] | every}
    polite.searches(WARM)
    results: dict[str, Measured] = {}
    for name, load in loads.items():
        if not only or name in only:
            results[name] = measure(polite, plan | load)
            show(name, results[name])
            time.sleep(SETTLE_S)
    return results


def show(name: str, one: Measured) -> None:
    """Say how it went."""
    print(f"{name}: {[round(each) for each in one.percentiles()]} ms, {len(one.failures)} failures {one.failures[:3]}")
    print(f"  generator {one.generator:.2f}, {one.counts}", flush=True)


def report(results: dict[str, Measured]) -> None:
    """Write the table."""
    rows = []
    for name, one in results.items():
        before_p50, before_p95, p50, p95 = one.percentiles()
        answered = sum(count for each in one.counts.values() for status, count in each.items() if status < "400")
        refused = sum(count for each in one.counts.values() for count in each.values()) - answered
        rows.append(
            (
                name,
                *(f"{ms:.0f}" for ms in (before_p50, before_p95, p50, p95)),
                f"{p95 / before_p95:.2f}",
                f"{len(one.failures)} of {SEARCHES}",
                answered,
                refused,
                f"{one.generator:.2f}",
            )
        )
    note = f"""One client with a key searches {SEARCHES} times with pictures of the demo corpus, and waits \
{PAUSE_S[0]} to {PAUSE_S[1]} s between an answer and the next search. Beside it, {CLIENTS} clients ask again as soon as
they are answered, {AGAIN_S * 1000:g} ms after a refusal whatever Retry-After says, and connect anew after as long when
they are cut off. All clients of a kind share a key; in the last load each has its own. Before each load the polite
client is measured alone, {ALONE} searches; the ratio is that of p95 beside the others to p95 alone, and the goal is
{GOAL:g} and no failure. The clients run on the same {CORES} cores as the servers; the last column is what they take of
them.

- small searches: pictures of 64 x 64. large pictures: JPEGs of 48 megapixels. thumbnails: of any size, so that most
  are computed. slow headers: a byte each half second. slow bodies: 2 KB a second of 20 MB. wrong keys: a new one each
  time."""
    heading = (
        "others",
        "alone p50 ms",
        "p95 ms",
        "with them p50 ms",
        "p95 ms",
        "ratio",
        "failures",
        "others answered",
        "others refused",
        "others' CPU",
    )
    write("fairness", "A polite client among abusive ones", "python -m benchmarks.fairness", heading, rows, note)


def stack() -> dict[str, str]:
    """Return the environment of a stack whose callers need keys."""
    server_binaries = os.environ.get("VISUALSEARCH_SERVER_BINARIES") or Settings.load().home / "server-binaries"
    return {**os.environ, "VISUALSEARCH_SERVER_BINARIES": str(server_binaries), "VISUALSEARCH_API_KEYS": api_keys()}


def main() -> None:
    """Measure on a new stack and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", default=[], choices=[*KINDS, TOGETHER, OWNERS])
    parser.add_argument("--home", help="the folder of a stack that runs already")
    options = parser.parse_args()
    command = [sys.executable, "-m", "cli.main"]
    with tempfile.TemporaryDirectory(prefix="bench-stack-") as folder:
        environment = stack() | {"VISUALSEARCH_HOME": options.home or folder}
        if not options.home:
            subprocess.run([*command, "up", "--detach"], check=True, env=environment)
        try:
            subprocess.run([*command, "index", str(PICTURES)], check=True, env=environment)
            status = subprocess.run([*command, "status", "--json"], check=True, env=environment, capture_output=True)
            report(run(json.loads(status.stdout)["gateway"]["url"], options.only))
        finally:
            if not options.home:
                subprocess.run([*command, "down"], check=True, env=environment)


if __name__ == "__main__":
    main()
