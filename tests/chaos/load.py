"""Constant load on one stack: uploads, searches and occasional input that cannot be indexed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import httpx
import obstore
import redis
from obstore.exceptions import BaseError
from obstore.store import S3Store
from PIL import Image
from redis.backoff import NoBackoff
from redis.retry import Retry

from visualsearch.settings import Settings

UPLOAD_EVERY_S, SEARCH_EVERY_S, POISON_EVERY_S = 0.2, 0.1, 11.0
TIMEOUT_S = 3.0
K = 10
STREAM = "visualsearch:events"
TILES = 80
"""Number of pictures of the demo corpus to keep decoded."""

Answer = Literal["accepted", "refused", "unknown"]


class Collages:
    """Distinct pictures. Each depends only on its number, so that it can be recreated at the end."""

    def __init__(self, folder: Path) -> None:
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        self._tiles: list[Image.Image] = []
        for file in files[:: max(1, len(files) // TILES)]:
            with Image.open(file) as picture:
                self._tiles.append(picture.convert("RGBA").convert("RGB").resize((160, 160)))

    def make(self, number: int) -> bytes:
        chance = random.Random(number)
        sheet = Image.new("RGB", (320, 240), tuple(chance.randrange(256) for _ in range(3)))
        for _ in range(6):
            size = (chance.randint(50, 200), chance.randint(50, 200))
            tile = chance.choice(self._tiles).resize(size).convert("RGBA")
            tile = tile.rotate(chance.uniform(0, 360), expand=True)
            sheet.paste(tile, (chance.randint(-60, 260), chance.randint(-60, 180)), tile)
        buffer = BytesIO()
        sheet.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Upload:
    """One POST /images of the picture with this ``number``. It has an id if it was accepted."""

    number: int
    begun: float
    answer: Answer
    image_id: int = 0


@dataclass(frozen=True, slots=True)
class Search:
    """One POST /search. ``trouble`` is empty if the response was correct."""

    begun: float
    ended: float
    trouble: str


@dataclass(frozen=True, slots=True)
class Poison:
    """A text file with the name of a picture, or a malformed stream entry. ``sure`` if it was accepted."""

    kind: Literal["text", "entry"]
    sure: bool


def answered(response: httpx.Response) -> Answer:
    return "accepted" if response.status_code == 202 else "refused"


def unanswered(error: httpx.HTTPError) -> Answer:
    """Classify a request without a response: not sent if there was no connection, otherwise unknown."""
    return "refused" if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else "unknown"


class Load:
    """Three threads of load. No picture is sent twice, so if one is found twice, the stack duplicated it."""

    def __init__(self, settings: Settings, collages: Collages, queries: list[bytes]) -> None:
        self.uploads: list[Upload] = []
        self.searches: list[Search] = []
        self.poison: list[Poison] = []
        self._settings = settings
        self._collages = collages
        self._queries = queries
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(3, "load")
        self._threads: list[Future[None]] = []
        self._http = httpx.Client(base_url=settings.url, timeout=TIMEOUT_S)
        self._redis = redis.Redis.from_url(
            settings.valkey_url,
            password=settings.valkey_password.get_secret_value(),
            socket_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # a retry could add a second entry
        )
        self._store = S3Store(
            settings.s3_bucket,
            endpoint=settings.s3_url,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key.get_secret_value(),
            secret_access_key=settings.s3_secret_key.get_secret_value(),
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": f"{TIMEOUT_S:.0f}s"},
            retry_config={"max_retries": 0},
        )

    def start(self) -> None:
        for every_s, work in (
            (UPLOAD_EVERY_S, self._upload),
            (SEARCH_EVERY_S, self._search),
            (POISON_EVERY_S, self._plant),
        ):
            self._threads.append(self._pool.submit(self._paced, every_s, work))

    def check(self) -> None:
        """Raise the exception that ended a thread, because without load the test proves nothing."""
        for thread in self._threads:
            if thread.done():
                thread.result()

    def stop(self) -> None:
        self._stop.set()
        self._pool.shutdown()
        self._http.close()
        self._redis.close()
        self.check()

    def _paced(self, every_s: float, work: Callable[[], None]) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            work()
            due = max(due + every_s, time.monotonic())  # do not catch up on requests missed during a hang
            self._stop.wait(due - time.monotonic())

    def _upload(self) -> None:
        number, begun = len(self.uploads), time.monotonic()
        files = {"image": (f"{number}.jpg", self._collages.make(number))}
        try:
            response = self._http.post("/images", files=files, data={"source": "chaos"})
        except httpx.HTTPError as error:
            self.uploads.append(Upload(number, begun, unanswered(error)))
            return
        answer = answered(response)
        image_id = response.json()["id"] if answer == "accepted" else 0
        self.uploads.append(Upload(number, begun, answer, image_id))

    def _search(self) -> None:
        query = self._queries[len(self.searches) % len(self._queries)]
        begun = time.monotonic()
        try:
            response = self._http.post("/search", files={"image": ("query", query)}, data={"k": str(K)})
        except httpx.HTTPError as error:
            trouble = type(error).__name__
        else:
            trouble = str(response.status_code) if response.status_code != 200 else _short(response)
        self.searches.append(Search(begun, time.monotonic(), trouble))

    def _plant(self) -> None:
        number = len(self.poison)
        try:
            if number % 2:
                self._redis.xadd(STREAM, {"chaos": str(number)})
            else:
                key = f"chaos/poison-{number}.jpg"
                obstore.put(self._store, key, f"no picture, number {number}".encode())
                uri = f"s3://{self._settings.s3_bucket}/{key}"
                self._redis.xadd(STREAM, {"kind": "created", "uri": uri, "image_id": "", "etag": ""})
        except (BaseError, redis.RedisError, OSError):
            sure = False
        else:
            sure = True
        self.poison.append(Poison("entry" if number % 2 else "text", sure))


def _short(response: httpx.Response) -> str:
    """Check that a 200 has K results, because the corpus always has more than K pictures."""
    number = len(response.json()["results"])
    return "" if number == K else f"200 with {number} of {K}"
