"""A canary that is worse than the live release is rolled back automatically."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.releases import NEW, Shop
from tests.unit.serving import RELEASE, Serving
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.recall import Recall
from visualsearch.domain.release_state import Canary
from visualsearch.releases import active_releases
from visualsearch.releases.canary import ReleaseStats, breaches, slot

HALF = Canary((50.0,), 60.0, 10)
PICTURE = jpeg(1)


@pytest.fixture(autouse=True)
def uncached(monkeypatch):
    monkeypatch.setattr(active_releases, "CACHE_S", 0.0)


@contextlib.asynccontextmanager
async def canary_for_half(**settings):
    """Two releases over the same pictures, the second a canary for half of the users."""
    async with Serving(**settings) as serving:
        serving.shop = Shop(serving.release_repository)
        for seed in range(3):
            await serving.index(jpeg(seed))
        serving.vectors.rows[NEW.collection] = dict(serving.vectors.rows[RELEASE.collection])
        await serving.shop.ready(replace(NEW, fingerprint=RELEASE.fingerprint), against=RELEASE.name)
        await serving.shop.lifecycle.canary("v2", HALF)
        # It began a minute ago: what a test records in the very moment of the beginning might fall out of the window.
        record = serving.release_repository.by_name["v2"]
        serving.release_repository.by_name["v2"] = replace(record, since=record.since - timedelta(minutes=1))
        yield serving


@pytest.fixture
async def serving():
    async with canary_for_half() as serving:
        yield serving


async def searches(serving, number=60, at_once=4):
    """Searches of as many users; returns which release answered each."""
    some = asyncio.Semaphore(at_once)

    async def search(user):
        async with some:
            return await serving.search(PICTURE, user_id=str(user))

    answers = await asyncio.gather(*map(search, range(number)))
    assert {answer.status_code for answer in answers} == {200}
    await serving.gateway.canary_monitor.flush()
    return [answer.json()["release"] for answer in answers]


async def given(serving, number=1000):
    """The releases that so many users are given."""
    return [(await serving.gateway.releases.for_request(str(user).encode())).name for user in range(number)]


async def judged(serving):
    await serving.gateway.canary_monitor.judge()
    return await serving.shop.standing()


def failing(serving, what):
    """Let the canary's part of the vector store do something else."""
    nearest = serving.vectors.nearest

    async def sabotaged(collection, *words):
        return await what() if collection == NEW.collection else await nearest(collection, *words)

    serving.vectors.nearest = sabotaged


async def test_a_user_stays_with_a_release_and_with_the_canary_as_it_grows(serving):
    small = Canary((5.0, 50.0), 60.0, 10)
    await serving.shop.lifecycle.canary("v2", small)
    few = await given(serving)
    assert 25 <= few.count("v2") <= 80
    assert await given(serving) == few
    await serving.shop.lifecycle.step("v2", 1)
    many = await given(serving)
    assert 440 <= many.count("v2") <= 560
    assert all(later == "v2" for before, later in zip(few, many, strict=True) if before == "v2")


async def test_a_search_without_user_is_routed_by_its_picture(serving):
    names = {(await serving.search(jpeg(7))).json()["release"] for _ in range(5)}
    assert len(names) == 1
    spread = {(await serving.search(jpeg(seed))).json()["release"] for seed in range(20)}
    assert spread == {"v1", "v2"}


async def test_a_good_canary_stays_and_takes_its_next_step(serving):
    await serving.shop.lifecycle.canary("v2", Canary((25.0, 50.0), 0.0, 5))
    await searches(serving)
    assert (await judged(serving)).canary.step == 1
    assert (await serving.shop.standing()).state == "canary"


async def test_a_step_waits_for_enough_requests(serving):
    await serving.shop.lifecycle.canary("v2", Canary((25.0, 50.0), 0.0, 1000))
    await searches(serving)
    assert (await judged(serving)).canary.step == 0


async def test_a_failing_canary_is_rolled_back_and_no_caller_gets_an_error(serving):
    async def fail():
        raise Unavailable("Milvus", "the collection is broken")

    failing(serving, fail)
    assert set(await searches(serving)) == {"v1"}
    standing = await judged(serving)
    assert standing.state == "ready"
    assert "100.0% of" in standing.note
    assert "requests failed" in standing.note
    assert set(await searches(serving)) == {"v1"}
    assert (await serving.shop.log.history("v2", 1))[0].actor == "canary monitor"


async def test_a_slow_canary_is_rolled_back(serving):
    nearest = serving.vectors.nearest

    async def dawdle(collection, *words):
        if collection == NEW.collection:
            serving.clock.advance(4)
        return await nearest(collection, *words)

    serving.vectors.nearest = dawdle
    await searches(serving, 40, at_once=1)
    standing = await judged(serving)
    assert standing.state == "ready"
    assert "p95 is" in standing.note


async def test_the_live_release_answers_for_a_hanging_canary():
    async with canary_for_half(deadline_ms=800) as serving:
        failing(serving, lambda: asyncio.sleep(30))
        assert set(await searches(serving, 20)) == {"v1"}
        assert (await serving.counts.since(60))["v2"]["errors"] > 0


async def test_a_canary_with_low_recall_is_rolled_back(serving):
    await serving.gateway.recall_repository.record("v1", Recall(240, 250, 25))
    await serving.gateway.recall_repository.record("v2", Recall(150, 250, 25))
    standing = await judged(serving)
    assert standing.state == "ready"
    assert standing.note == "recall@10 is 0.600 over 25 queries, the live release's 0.960"


async def test_a_canary_whose_results_get_no_clicks_is_rolled_back(serving):
    serving.release_repository.clicked = {"v1": (1000, 300), "v2": (400, 40)}
    standing = await judged(serving)
    assert standing.state == "ready"
    assert standing.note == "10.0% of 400 searches had a click, of the live release's 30.0% of 1000"


async def test_a_canary_is_not_judged_by_the_clicks_of_its_predecessor(serving):
    serving.release_repository.clicked = {"v1": (1000, 300), "v2": (400, 40)}
    assert (await judged(serving)).state == "ready"
    serving.release_repository.clicked = {}
    await serving.shop.lifecycle.canary("v2", HALF)
    assert (await judged(serving)).state == "canary"


async def test_stats_contain_the_figures_of_the_canary(serving):
    await searches(serving)
    stats = (await serving.client.get("/stats")).json()
    assert stats["canary"]["release"] == "v2"
    assert stats["canary"]["seen"]["v2"]["requests"] > 10
    await serving.shop.lifecycle.roll_back("enough")
    stats = (await serving.client.get("/stats")).json()
    assert stats["canary"] is None
    assert {one["name"]: one["note"] for one in stats["releases"]}["v2"] == "enough"


async def test_counts_are_kept_while_the_store_is_down(serving):
    serving.counts.down = True
    await searches(serving, 20)
    serving.counts.down = False
    await serving.gateway.canary_monitor.flush()
    sums = await serving.counts.since(60)
    assert sum(counters["requests"] for counters in sums.values()) == 20


def seen(requests=1000, errors=0, ms=20, **more):
    return ReleaseStats(requests, errors, {slot(ms): requests}, **more)


@pytest.mark.parametrize(
    ("canary", "trouble"),
    [
        (seen(), ""),
        (seen(99, 99), ""),
        (seen(errors=9), ""),
        (seen(errors=30), "3.0% of 1000"),
        (seen(100, 2), ""),
        (seen(ms=60), ""),
        (seen(ms=140), "p95 is 150 ms"),
        (ReleaseStats(100, 0, {slot(20): 91, slot(140): 9}), ""),
        (ReleaseStats(100, 0, {slot(20): 85, slot(140): 15}), "p95 is 150 ms"),
        (seen(recall=Recall(180, 200, 20)), ""),
        (seen(recall=Recall(100, 190, 19)), ""),
        (seen(recall=Recall(100, 200, 20)), "recall@10 is 0.500"),
        (seen(searches=1000, clicked=250), ""),
        (seen(searches=100, clicked=22), ""),
        (seen(searches=1000, clicked=150), "15.0% of 1000"),
    ],
)
def test_a_breach_is_a_difference_that_counts_over_enough_requests(canary, trouble):
    live = seen(10_000, recall=Recall(930, 1000, 100), searches=10_000, clicked=3000)
    found = breaches(live, canary, 100)
    assert found[0].startswith(trouble) if trouble else not found, found


async def test_a_shadow_is_compared_without_affecting_answers(serving):
    await serving.shop.lifecycle.roll_back("to be a shadow")
    rows = serving.vectors.rows[NEW.collection]
    rows |= {i: replace(row, embedding=-row.embedding) for i, row in list(rows.items())[:1]}
    await serving.shop.lifecycle.shadow("v2", 100)
    await serving.gateway.releases.records()
    assert set(await searches(serving, 1)) == {"v1"}
    await eventually(lambda: serving.counts.totals)
    facts = (await serving.client.get("/stats")).json()["shadow"]
    assert facts["queries"] == 1
    assert facts["overlap"] == 1
    assert 0 < facts["rbo"] <= 1


async def test_a_shadow_is_shed_under_load_and_its_failures_affect_no_answer(serving):
    await serving.shop.lifecycle.roll_back("to be a shadow")
    await serving.shop.lifecycle.shadow("v2", 100)
    await serving.gateway.releases.records()

    async def fail():
        await asyncio.sleep(0.05)
        raise Unavailable("Milvus")

    failing(serving, fail)
    assert set(await searches(serving, 30)) == {"v1"}
    await eventually(lambda: sum(sum(totals.values()) for totals in serving.counts.totals.values()) == 30)
    facts = (await serving.client.get("/stats")).json()["shadow"]
    assert facts["errors"] >= 1
    assert facts["shed"] >= 10
    assert facts["overlap"] is None


async def test_answers_of_one_request_are_never_of_two_releases(serving):
    """Each release knows another picture, so that a mixture would show."""
    one, other = sorted(serving.vectors.rows[RELEASE.collection])[:2]
    for collection, kept in ((RELEASE.collection, one), (NEW.collection, other)):
        serving.vectors.rows[collection] = {kept: serving.vectors.rows[collection][kept]}
    await serving.shop.lifecycle.roll_back("first end the canary")
    done = asyncio.Event()

    async def switch():
        while not done.is_set():
            await serving.shop.lifecycle.promote("v2", force="to and fro")
            await asyncio.sleep(0.01)
            await serving.shop.lifecycle.roll_back("fro and to")
            await asyncio.sleep(0.01)

    switching = asyncio.create_task(switch())
    answers = [(await serving.search(PICTURE)).json() for _ in range(60)]
    done.set()
    await switching
    assert {(answer["release"], answer["results"][0]["id"]) for answer in answers} == {("v1", one), ("v2", other)}
