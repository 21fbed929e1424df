"""A deliberately bad canary of each of the four kinds is rolled back within 30 seconds, with the reason.

Runs on the real servers, with several gateway processes and searches by many users. Takes about five minutes.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image
from pymilvus import MilvusClient
from rich.console import Console

from tests.conftest import ROOT, UP_TIMEOUT_S, Stack, everything_reachable
from tests.encoders import added, slowed
from tests.eventually import eventually_sync
from visualsearch.composition import open_stores

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

BOUND_S = 30.0
GREEN, SLOW = "v1_green", "v2_slow"
PICTURES = [file.read_bytes() for file in sorted((ROOT / "demo" / "pictures").rglob("*.*"))[::40]]
CALLERS = 2
"""Few enough to avoid queueing, which would hide how slow the canary is."""
MIN_REQUESTS = 50


@pytest.fixture(scope="module")
def canary_stack(tmp_path_factory):
    """A separate stack with three thousand pictures, a release as good as the live one, and one that encodes slowly.

    Milvus builds no index for fewer than a thousand rows in a shard, and searches them exhaustively.
    """
    home = tmp_path_factory.mktemp("canary") / "state"
    repository = shutil.copytree(ROOT / "model_repository", home / "model_repository")
    added(repository, 2, slowed((repository / "image_encoder" / "1" / "model.onnx").read_bytes()))
    stack = Stack(home)
    stack.env["VISUALSEARCH_MODEL_REPOSITORY"] = str(repository)
    # Sample the recall of every live query. With a share of 1%, 20 samples would take an hour here.
    stack.env["VISUALSEARCH_RECALL_SHARE"] = "1"
    builds = [("--name", GREEN), ("--model-version", "2", "--name", SLOW)]
    folders = ["demo/pictures", str(crops(home / "crops"))]
    for words in (
        ("up", "--detach", *everything_reachable()),
        *(("index", folder) for folder in folders),
        *(("release", "build", *words) for words in builds),
    ):
        done = stack.command(*words, timeout_s=max(900, UP_TIMEOUT_S))
        assert done.returncode == 0, done.stdout + done.stderr
    yield stack
    stack.command("down")


def crops(folder: Path) -> Path:
    """Write two crops of every picture of the demo corpus."""
    folder.mkdir()
    for file in sorted((ROOT / "demo" / "pictures").rglob("*.*")):
        with Image.open(file) as picture:
            upright = picture.convert("RGBA").convert("RGB")  # a palette may contain transparency
        width, height = upright.size
        for name, box in (
            ("first", (0, 0, width * 6 // 10, height * 6 // 10)),
            ("last", (width * 4 // 10, height * 4 // 10, width, height)),
        ):
            upright.crop(box).save(folder / f"{file.stem}_{name}.jpg", quality=90)
    return folder


class Users:
    """Many users who search continuously, and click on a release's results at the rate in ``clicks``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clicks = {GREEN: 0.5, "others": 0.5}
        self.failed = []
        self._numbers = itertools.count(1)
        self._stop = threading.Event()

    def __enter__(self):
        self._pool = ThreadPoolExecutor(CALLERS)
        self._callers = [self._pool.submit(self._search) for _ in range(CALLERS)]
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._pool.shutdown()
        for caller in self._callers:
            caller.result()

    def _search(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self._stop.is_set():
                user = next(self._numbers)
                form = {"user_id": str(user), "k": "2"}  # so that a release may fetch only ten candidates
                answer = client.post("/search", files={"image": random.choice(PICTURES)}, data=form)
                if answer.status_code != httpx.codes.OK:
                    self.failed.append(answer.text)
                    time.sleep(0.5)
                    continue
                body = answer.json()
                chance = self.clicks.get(body["release"], self.clicks["others"])
                if not body["results"]:
                    self.failed.append("no results")
                elif random.random() < chance:
                    hit = body["results"][0]
                    click = {"user_id": user, "query_image_id": body["query_image_id"], "rank": 1}
                    client.post("/click", json=click | {"displayed_image_id": hit["id"]})


def milvus(settings) -> MilvusClient:
    return MilvusClient(uri=settings.milvus_uri, user="root", password=settings.milvus_password.get_secret_value())


def broken(settings, users) -> None:
    milvus(settings).release_collection(f"images_{GREEN}")


def forgetful(settings, users) -> None:
    """Probe only one list of the index. If it has fewer rows than requested, Milvus probes every list."""
    asyncio.run(searched_with(settings, {"nprobe": 1, "candidates": 10}))


async def searched_with(settings, search_params) -> None:
    async with open_stores(settings, 10) as stores:
        await stores.recall_repository.search_with(GREEN, search_params)


def unloved(settings, users) -> None:
    users.clicks[GREEN] = 0.05


def as_it_is(settings, users) -> None:
    """Do nothing, because the release is bad from the start."""


def made_canary(api, name: str) -> None:
    wish = {"steps": [50], "step_s": 3600, "min_requests": MIN_REQUESTS, "force": True, "reason": "a drill"}
    begun = api.post(f"/releases/{name}/canary", json=wish)
    assert begun.is_success, begun.text


def entry(api, name: str):
    """Return the newest entry of a release's history."""
    return api.get("/releases/history", params={"release": name}).json()[0]


def test_a_good_canary_stays(canary_stack):
    with Users(canary_stack.settings().url) as users, httpx.Client(base_url=users.url, timeout=30) as api:
        made_canary(api, GREEN)
        time.sleep(45)
        assert api.get("/stats").json()["canary"], entry(api, GREEN)["reason"]
        assert api.post("/releases/rollback", json={"reason": "the drill is over"}).is_success
    assert not users.failed


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        (GREEN, unloved, "searches had a click"),
        (GREEN, forgetful, "recall@10 is"),
        (SLOW, as_it_is, "p95 is"),
        (GREEN, broken, "requests failed"),
    ],
    ids=["low CTR", "low recall", "slow", "errors"],
)
def test_a_bad_canary_is_rolled_back_within_half_a_minute_of_being_bad(canary_stack, name, spoil, says):
    settings = canary_stack.settings()
    with Users(settings.url) as users, httpx.Client(base_url=settings.url, timeout=30) as api:
        time.sleep(5)  # the live release is searched too
        made_canary(api, name)
        if spoil is not as_it_is:
            time.sleep(8)
            assert api.get("/stats").json()["canary"], entry(api, name)["reason"]
        begin = time.monotonic()
        spoil(settings, users)
        eventually_sync(lambda: api.get("/stats").json()["canary"] is None, 3 * BOUND_S, every_s=0.2)
        taken = time.monotonic() - begin
        reason = entry(api, name)["reason"]
    if spoil is forgetful:
        asyncio.run(searched_with(settings, {"nprobe": 64}))
    told = f"{spoil.__name__}: back after {taken:.1f} s: {reason}; {len(users.failed)} searches failed"
    Console(stderr=True).print(told)
    assert says in reason
    assert taken < BOUND_S
