"""A canary that is bad on purpose, in each of the four ways, goes by itself within 30 seconds and says why.

On the real servers, with several gateway processes, under searches by many users; about five minutes.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from pymilvus import MilvusClient
from rich.console import Console

from tests.conftest import ROOT, UP_TIMEOUT_S, Stack
from visualsearch.recall import Recall
from visualsearch.wiring import open_stores

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

BOUND_S = 30.0
GREEN = "v1_bad"
PICTURES = [file.read_bytes() for file in sorted((ROOT / "demo" / "pictures").rglob("*.*"))[::40]]
CALLERS = 2
"""So few that a search takes little but its own time: a crowd's waiting would hide how slow the canary is."""
MIN_REQUESTS = 30


@pytest.fixture(scope="module")
def canary_stack(tmp_path_factory):
    """A stack of its own with the demo corpus and a second release that is as good as the live one."""
    stack = Stack(tmp_path_factory.mktemp("canary") / "state")
    # Every live query is compared with a thorough search: at a share of 1%, 20 of them would take an hour here.
    stack.env["VISUALSEARCH_RECALL_SHARE"] = "1"
    up = stack.command("up", "--detach", timeout_s=UP_TIMEOUT_S)
    assert up.returncode == 0, up.stdout + up.stderr
    for words in (("index", "demo/pictures"), ("release", "build", "--name", GREEN)):
        done = stack.command(*words, timeout_s=900)
        assert done.returncode == 0, done.stdout + done.stderr
    yield stack
    stack.command("down")


class Users:
    """Many users who search without pause, and click on what a release shows as often as ``clicks`` says."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clicks = dict.fromkeys(("live", GREEN), 0.5)
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
                form = {"user_id": str(user), "k": "10"}
                answer = client.post("/search", files={"image": random.choice(PICTURES)}, data=form)
                if answer.status_code != httpx.codes.OK:
                    self.failed.append(answer.text)
                    time.sleep(0.5)
                    continue
                body = answer.json()
                chance = self.clicks.get(body["release"], self.clicks["live"])
                if not body["results"]:
                    self.failed.append("no results")
                elif random.random() < chance:
                    hit = body["results"][0]
                    click = {"user_id": user, "query_image_id": body["query_image_id"], "rank": 1}
                    client.post("/click", json=click | {"displayed_image_id": hit["id"]})


def searched_by(settings, **params) -> None:
    """Change what the release is searched with, behind everybody's back."""
    password = settings.postgres_password.get_secret_value()
    with psycopg.connect(settings.postgres_dsn, password=password, autocommit=True) as connection:
        connection.execute("UPDATE releases SET search_params = %s WHERE name = %s", (Jsonb(params), GREEN))


def milvus(settings) -> MilvusClient:
    return MilvusClient(uri=settings.milvus_uri, user="root", password=settings.milvus_password.get_secret_value())


def broken(settings, users) -> None:
    milvus(settings).release_collection(f"images_{GREEN}")


def slow(settings, users) -> None:
    searched_by(settings, nprobe=65536, candidates=16000)


def forgetful(settings, users) -> None:
    """Tell what the proxy would of an index that finds half: a corpus this small is compared in full.

    The live release's queries too: at the proxy's pace it has had its twenty long before anybody begins a canary.
    """
    asyncio.run(_forgetful(settings))


async def _forgetful(settings) -> None:
    async with open_stores(settings, 10) as stores:
        await stores.recall_log.record("v1_ivf_pq", Recall(hits=20 * 10, expected=20 * 10, queries=20))
        await stores.recall_log.record(GREEN, Recall(hits=20 * 5, expected=20 * 10, queries=20))


def unloved(settings, users) -> None:
    users.clicks[GREEN] = 0.05


def mended(stack, settings) -> None:
    searched_by(settings, nprobe=64)
    milvus(settings).load_collection(f"images_{GREEN}")
    assert stack.command("reconcile", "--repair").returncode in {0, 1}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (unloved, "searches had a click"),
        (forgetful, "recall@10 is"),
        (slow, "p95 is"),
        (broken, "requests failed"),
    ],
    ids=["low CTR", "low recall", "slow", "errors"],
)
def test_a_bad_canary_is_rolled_back_within_half_a_minute_of_being_bad(canary_stack, spoil, says):
    settings = canary_stack.settings()
    with Users(settings.url) as users, httpx.Client(base_url=settings.url, timeout=30) as api:
        wish = {"steps": [50], "step_s": 3600, "min_requests": MIN_REQUESTS, "force": True, "reason": "a drill"}
        begun = api.post(f"/releases/{GREEN}/canary", json=wish)
        assert begun.is_success, begun.text
        time.sleep(8)
        assert api.get("/stats").json()["canary"]["release"] == GREEN, "a good canary stays"
        users.failed.clear()
        begin = time.monotonic()
        spoil(settings, users)
        while api.get("/stats").json()["canary"] is not None:
            assert time.monotonic() < begin + 3 * BOUND_S
            time.sleep(0.2)
        taken = time.monotonic() - begin
        (entry, *_) = api.get("/releases/history", params={"release": GREEN}).json()
        told = f"{spoil.__name__}: back after {taken:.1f} s: {entry['reason']}; {len(users.failed)} searches failed"
        Console(stderr=True).print(told)
    mended(canary_stack, settings)
    assert says in entry["reason"]
    assert taken < BOUND_S
