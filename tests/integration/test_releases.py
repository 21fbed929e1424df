"""A model is promoted and rolled back under load; failures do not affect the live release."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import httpx
import pytest

from tests.conftest import ROOT
from tests.encoders import added, narrow, smuggled, turned
from tests.eventually import eventually_sync

pytestmark = pytest.mark.stack
PICTURES = sorted((ROOT / "demo" / "pictures" / "food").iterdir())[:12]
CLIENTS = 16
ROLLBACK_S = 2.0
CAPACITY = re.compile("more work|Too many|More searches|no answer within|Deadline Exceeded")


@pytest.fixture(scope="module")
def repository(running, stack):
    """The stack's own model repository, as it was again afterwards."""
    if stack.model_repository.resolve() == ROOT / "model_repository":
        pytest.skip("this stack serves the checkout's own model repository, where no test may publish")
    kept = (stack.model_repository / "image_encoder" / "config.pbtxt").read_bytes()
    shutil.rmtree(stack.model_repository / "image_encoder" / "2", ignore_errors=True)
    yield stack.model_repository
    (stack.model_repository / "image_encoder" / "config.pbtxt").write_bytes(kept)
    for version in ("2", "8", "9"):
        shutil.rmtree(stack.model_repository / "image_encoder" / version, ignore_errors=True)


@pytest.fixture(scope="module")
def corpus(running, stack):
    """Some pictures that are surely indexed."""
    done = running.command("index", str(PICTURES[0].parent))
    assert done.returncode == 0, done.stderr
    return PICTURES


def states(api):
    return {one["name"]: one["state"] for one in api.get("/releases").json() if one["state"] != "retired"}


@pytest.fixture(scope="module")
def blue(api):
    return api.get("/stats").json()["live_release"]["name"]


@pytest.fixture(scope="module")
def green(running, api, repository, corpus, blue, tmp_path_factory):
    """A second release by another encoder, whose build was killed once; gone again afterwards."""
    few = tmp_path_factory.mktemp("evaluation")
    for category in ("food", "plants"):
        (few / category).mkdir()
        for picture in sorted((ROOT / "demo" / "pictures" / category).iterdir())[:12]:
            shutil.copy(picture, few / category)
    running.env["VISUALSEARCH_EVALUATION_SET"] = str(few)
    added(repository, 2, turned((repository / "image_encoder" / "1" / "model.onnx").read_bytes(), kept=250))
    name = f"green_{os.getpid()}_{int(time.time())}"
    words = ("release", "build", "--model-version", "2", "--name", name)
    killed_when(running, words, lambda: states(api).get(name) == "building")
    assert states(api)[name] == "building"
    assert states(api)[blue] == "live"
    built = running.command(*words, timeout_s=280)
    assert f"Release {name} is ready" in built.stdout, built.stdout + built.stderr
    yield name
    if states(api).get(blue) != "live":
        api.post("/releases/rollback", json={"reason": "the tests are over"})
    retired = running.command("release", "retire", name)
    assert retired.returncode == 0, retired.stderr


def killed_when(running, words, condition):
    """Run a command, and kill it as soon as a condition holds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words],
        env=running.env,
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually_sync(lambda: condition() or process.poll() is not None, within_s=240, every_s=0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


class Crowd:
    """Clients that search without pause for pictures of the corpus, and remember what they got and when."""

    def __init__(self, url):
        self.url = url
        self.answers = []
        self.going = True

    async def __aenter__(self):
        self._client = httpx.AsyncClient(base_url=self.url, timeout=30, limits=httpx.Limits(max_connections=CLIENTS))
        self._tasks = [asyncio.create_task(self._search(number)) for number in range(CLIENTS)]
        return self

    async def __aexit__(self, *_):
        self.going = False
        await asyncio.gather(*self._tasks)
        await self._client.aclose()

    async def _search(self, number):
        data = PICTURES[number % len(PICTURES)].read_bytes()
        while self.going:
            begin = time.monotonic()
            answer = await self._client.post("/search", files={"image": ("x", data)}, data={"k": "5"})
            self.answers.append((begin, answer))

    def failures(self):
        """What went wrong, but for what is refused or late because this machine has too few cores for the crowd."""
        answers = [answer for _, answer in self.answers if answer.status_code != httpx.codes.OK]
        return Counter(
            answer.json()["detail"]
            for answer in answers
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or not CAPACITY.search(answer.json()["detail"])
        )

    async def post(self, path, **body):
        answer = await self._client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer


async def test_promote_and_roll_back_under_load_lose_no_request_and_mix_no_releases(stack, blue, green):
    switched = []
    async with Crowd(stack.url) as crowd:
        await asyncio.sleep(1)
        for _ in range(2):
            await crowd.post(f"/releases/{green}/promote", reason="a drill", force=True)
            await asyncio.sleep(2.5)
            await crowd.post("/releases/rollback", reason="a drill")
            switched.append(time.monotonic())
            await asyncio.sleep(ROLLBACK_S + 0.5)
    assert not crowd.failures()
    answers = [(begin, answer.json()) for begin, answer in crowd.answers if answer.status_code == 200]
    assert {answer["release"] for _, answer in answers} == {blue, green}
    # A vector of one release is a stranger in the other's collection: the picture itself would not come first.
    assert min(answer["results"][0]["score"] for _, answer in answers) > 0.99
    late = [answer for begin, answer in answers for at in switched if at + ROLLBACK_S < begin < at + ROLLBACK_S + 0.5]
    assert {answer["release"] for answer in late} == {blue}


def test_a_killed_promotion_is_complete_or_without_effect_and_the_servers_follow(running, api, blue, green):
    for pause_s in (0.5, 1.0, 1.4):
        until = time.monotonic() + pause_s
        words = ("release", "promote", green, "--force", "--reason", "a drill")
        killed_when(running, words, lambda until=until: time.monotonic() > until)
        now = states(api)
        assert sorted([now[blue], now[green]]) == ["live", "ready"], now
        if now[green] == "live":
            assert api.post("/releases/rollback", json={"reason": "a drill"}).json() == {"live": blue}


@pytest.mark.parametrize(
    ("version", "make", "trouble"),
    [(8, lambda model: b"no model at all", "cannot load version"), (9, narrow, "embeddings of 128 numbers")],
    ids=["corrupt", "of another dimension"],
)
async def test_a_model_that_does_not_work_never_becomes_a_release(
    running, stack, api, repository, version, make, trouble
):
    smuggled(repository, version, make((repository / "image_encoder" / "1" / "model.onnx").read_bytes()))
    async with Crowd(stack.url) as crowd:
        built = await asyncio.to_thread(running.command, "release", "build", "--model-version", str(version))
    assert built.returncode == 1
    assert trouble in " ".join(built.stderr.split())
    assert f"v{version}_ivf_pq" not in states(api)
    (entry, *_) = api.get("/releases/history", params={"release": f"v{version}_ivf_pq"}).json()
    assert entry["action"] == "fail"
    assert not crowd.failures()


def test_a_release_that_is_still_being_built_or_retired_cannot_be_promoted(api, blue):
    assert api.post(f"/releases/{blue}/promote", json={}).status_code == 409
    assert api.post("/releases/never_was/promote", json={}).status_code == 404


def test_the_stack_serves_as_before(api, blue):
    assert states(api)[blue] == "live"
