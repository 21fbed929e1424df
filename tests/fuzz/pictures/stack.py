"""Gives hostile files to a stack: as a search, as an upload, and past the gateway into the bucket.

What is accepted must be indexed, what is refused must be refused by every part, and no process may die of it.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import psutil
import stamina

from tests.conftest import UP_TIMEOUT_S, Stack
from tests.fuzz.pictures.corpus import HostileFile, hostile_file
from tests.fuzz.pictures.formats import kind_of
from tests.fuzz.pictures.report import Report
from tests.fuzz.pictures.statuses import ACCEPTED
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.image_repository import PostgresImages
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.images import MAX_UPLOAD_BYTES, Image, Status
from visualsearch.indexing_stores import bucket
from visualsearch.settings import Settings

CLIENTS = 4
TOO_LONG_S = 10.0
SETTLES_S = 120.0
LATER = {429, 503}
TRIES = 30
"""How often a request is sent that is told to come again."""
REFUSED = {413, 415, 422}
SAMPLE_S = 0.5
LEAKED_MB = 300
SIZE = 64
DIRECT = "hostile"
"""The folder of the bucket for files that do not pass the gateway."""


@dataclass
class Given:
    """What became of the files so far: ids of uploads and uris of objects, with the files' numbers."""

    uploads: dict[int, int] = field(default_factory=dict)
    objects: dict[str, tuple[int, bool]] = field(default_factory=dict)


@asynccontextmanager
async def running_stack() -> AsyncIterator[Stack]:
    """Start a stack, which is thrown away afterwards."""
    with tempfile.TemporaryDirectory(prefix="visualsearch-fuzz-") as folder:
        stack = Stack(Path(folder) / "state")
        up = await asyncio.to_thread(stack.command, "up", "--detach", timeout_s=UP_TIMEOUT_S)
        try:
            assert not up.returncode, up.stdout + up.stderr
            await asyncio.to_thread(stack.command, "index", "demo/queries")
            yield stack
        finally:
            await asyncio.to_thread(stack.command, "down")


async def try_stack(seed: int, numbers: Iterator[int], report: Report) -> None:
    """Give files to a stack of its own, and compare what its parts make of them."""
    async with running_stack() as stack:
        settings, given = stack.settings(), Given()
        before, files = pids(stack), temporary_files(stack)
        sampling = asyncio.create_task(_sample(stack, report))
        async with httpx.AsyncClient(base_url=settings.url, timeout=60) as client:
            await asyncio.gather(*(_give(client, settings, seed, numbers, report, given) for _ in range(CLIENTS)))
            await _check_uploads(client, given, report)
            await _check_objects(settings, given, report)
            letters = (await client.get("/dead-letters")).json()
        sampling.cancel()
        report.remember(memory(stack))
        number = next(iter(given.uploads.values()), 0)
        if letters:
            report.fault(number, f"or another made {len(letters)} dead letters: {letters[0]}")
        if left := temporary_files(stack) - files:
            report.fault(number, f"or another left files: {sorted(left)[:5]}")
        for name, ids in before.items():
            if ids - pids(stack)[name]:
                report.fault(number, f"or another ended a process of the {name}")
        for name, (first, _, last) in report.memory.items():
            if last - first > LEAKED_MB:
                report.fault(number, f"or another left {name} at {last} MB, from {first}")


async def _give(
    client: httpx.AsyncClient, settings: Settings, seed: int, numbers: Iterator[int], report: Report, given: Given
) -> None:
    objects = bucket(settings, settings.s3_bucket, TOO_LONG_S)
    for number in numbers:
        file = await asyncio.to_thread(hostile_file, seed, number)
        searched, search_s = await _post(client, "/search", file)
        uploaded, upload_s = await _post(client, "/images", file)
        seconds, status = max(search_s, upload_s), searched.status_code
        faults = list(_wrong(file, searched, uploaded))
        if seconds > TOO_LONG_S:
            faults.append(f"takes {seconds:.1f} s")
        report.add(
            number,
            {"kind": kind_of(file.data), "status": status, "seconds": seconds, "name": file.name, "faults": faults},
        )
        if uploaded.status_code == 202:
            given.uploads[uploaded.json()["id"]] = number
        if len(file.data) <= MAX_UPLOAD_BYTES:
            key = f"{DIRECT}/{number}.jpg"
            await stamina.AsyncRetryingCaller(attempts=TRIES, timeout=None)(Unavailable, objects.put, key, file.data)
            given.objects[objects.uri(key)] = number, status in ACCEPTED
    await objects.close()


async def _post(client: httpx.AsyncClient, path: str, file: HostileFile) -> tuple[httpx.Response, float]:
    """Send a file until it is not refused for want of room; return the answer and how long it took."""
    for _ in range(TRIES):
        begun = time.monotonic()
        answer = await client.post(path, files={"image": ("x", file.data)}, data={"k": 3} if path == "/search" else {})
        if answer.status_code not in LATER:
            break
        await asyncio.sleep(float(answer.headers["retry-after"]))
    return answer, time.monotonic() - begun


def _wrong(file: HostileFile, searched: httpx.Response, uploaded: httpx.Response) -> Iterator[str]:
    answers = searched.status_code, uploaded.status_code
    fine = answers == (200, 202) or (answers[0] == answers[1] and answers[0] in REFUSED)
    if not fine:
        yield f"gets {answers}: {searched.text[:200]} {uploaded.text[:200]}"
    if file.status and searched.status_code not in file.status:
        yield f"gets {answers}, not one of {file.status}"
    if searched.status_code in REFUSED and len(searched.json()["detail"]) < 20:
        yield f"is not told what to do: {searched.text}"


async def _check_uploads(client: httpx.AsyncClient, given: Given, report: Report) -> None:
    """Whatever the gateway accepted must become indexed, and have content and a thumbnail."""
    for image_id, number in given.uploads.items():
        image = (await client.get(f"/images/{image_id}", params={"wait_s": 30})).json()
        if image["status"] != "indexed":
            report.fault(number, f"is {image['status']} after the gateway accepted it: {image['reason']}")
        for query in ({}, {"size": SIZE}):
            answer = await client.get(f"/images/{image_id}/content", params=query)
            if answer.status_code != 200:
                report.fault(number, f"has no content {query}: {answer.status_code} {answer.text}")


async def _check_objects(settings: Settings, given: Given, report: Report) -> None:
    """The indexer must come to the same judgement of an object as the gateway, with a reason."""
    images = PostgresImages(Database(settings.postgres_dsn, settings.postgres_password.get_secret_value(), 10.0, 2))
    waiting, end = dict(given.objects), time.monotonic() + SETTLES_S
    while waiting and time.monotonic() < end:
        known = await images.by_uris(list(waiting))
        for uri, image in known.items():
            if image.status is not Status.PENDING:
                number, accepted = waiting.pop(uri)
                if fault := _misjudged(image, accepted):
                    report.fault(number, fault)
        await asyncio.sleep(SAMPLE_S)
    for number, _ in waiting.values():
        report.fault(number, "put into the bucket is pending for ever")
    await images.close()


def _misjudged(image: Image, accepted: bool) -> str:
    if accepted != (image.status is Status.INDEXED):
        return f"is {image.status} by the indexer, but {'accepted' if accepted else 'refused'} by the gateway"
    if not accepted and (len(image.reason or "") < 20 or "Given up" in str(image.reason)):
        return f"is rejected for the reason {image.reason!r}"
    return ""


async def _sample(stack: Stack, report: Report) -> None:
    while True:
        report.remember(memory(stack))
        await asyncio.sleep(SAMPLE_S)


def pids(stack: Stack) -> dict[str, set[int]]:
    """The processes of the gateway and the indexer, without their pools'."""
    processes = orjson.loads((stack.home / "run" / "state.json").read_bytes())["processes"]
    gateway, indexer = (psutil.Process(processes[name]["pid"]) for name in ("gateway", "indexer"))
    return {"gateway": {gateway.pid, *(child.pid for child in gateway.children())}, "indexer": {indexer.pid}}


def temporary_files(stack: Stack) -> set[str]:
    """The files below the private /tmp of the gateway and the indexer."""
    roots = [Path(f"/proc/{pid}/root/tmp") for ids in pids(stack).values() for pid in ids]
    return {path.name for root in roots if not root.samefile("/tmp") for path in root.iterdir()}


def memory(stack: Stack) -> dict[str, int]:
    """What the gateway, the indexer and their pools have together, in MB."""
    found = {}
    for name, ids in pids(stack).items():
        below = {child.pid for pid in ids for child in psutil.Process(pid).children(recursive=True)} - ids
        found |= {f"the {name}": _resident(ids), f"the pools of the {name}": _resident(below)}
    return found


def _resident(ids: set[int]) -> int:
    total = 0
    for pid in ids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.NoSuchProcess:  # a pool replaced it
            continue
    return total >> 20
