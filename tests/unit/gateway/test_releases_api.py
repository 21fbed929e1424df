"""The REST routes of releases."""

import hashlib
from datetime import UTC, datetime

import pytest

from tests.pictures import jpeg
from tests.unit.releases import NEW, Shop
from tests.unit.serving import RELEASE, Serving, assert_problem
from visualsearch.domain.releases import ReleaseState
from visualsearch.domain.score_calibration import ScoreCalibration
from visualsearch.releases import active_releases

KEYS = ",".join(
    f"{who}:{role}:{hashlib.sha256(who.encode()).hexdigest()}"
    for who, role in (("ada", "admin"), ("w", "write"), ("r", "read"))
)


@pytest.fixture
async def serving(monkeypatch):
    monkeypatch.setattr(active_releases, "CACHE_S", 0.0)
    async with Serving() as serving:
        serving.vectors.rows[NEW.collection] = {}
        await Shop(serving.release_repository).ready(against=RELEASE.name)
        yield serving


async def post(serving, path, body=None, **options):
    return await serving.client.post(f"/releases/{path}", json=body if body is not None else {}, **options)


async def test_the_list_contains_release_states_and_evaluations(serving):
    listed = (await serving.client.get("/releases")).json()
    assert {one["name"]: one["state"] for one in listed} == {"v1": "live", "v2": "ready"}
    one = (await serving.client.get("/releases/v2")).json()
    assert one["evaluation"]["passed"]
    assert one["evaluation"]["checks"][0]["name"] == "ndcg@10"
    assert_problem(await serving.client.get("/releases/v9"), 404)


async def test_promote_and_roll_back_move_what_answers(serving):
    answer = await post(serving, "v2/promote", {"reason": "better"})
    assert (answer.status_code, answer.json()["state"]) == (200, "live")
    assert (await serving.gateway.releases.live()).name == "v2"
    assert (await post(serving, "rollback", {"reason": "worse"})).json() == {"live": "v1"}
    assert (await serving.gateway.releases.live()).name == "v1"
    history = (await serving.client.get("/releases/history", params={"release": "v2"})).json()
    assert [one["action"] for one in history[:2]] == ["rollback", "promote"]
    assert history[1]["actor"] == "api"


async def test_a_change_that_conflicts_with_the_state_is_a_409_with_the_alternative(serving):
    assert_problem(await post(serving, "v1/promote"), 409)
    assert_problem(await post(serving, "v1/retire"), 409)
    assert_problem(await post(serving, "rollback"), 409)
    assert_problem(await post(serving, "v9/promote"), 404)
    assert_problem(await post(serving, "v2/promote", {"force": True}), 422)
    assert_problem(await post(serving, "v2/promote", {"force": "perhaps"}), 422)


@pytest.mark.parametrize(
    "body",
    [
        {"model_version": 3},
        {"model_version": 2**31 - 1},
        {"profile": "nowhere"},
        {"profile": "ivf_pq:nlist=many"},
        {"name": "no name"},
    ],
)
async def test_an_impossible_build_is_refused(serving, body):
    refused = await serving.client.post("/releases", json=body)
    assert_problem(refused, 422)
    assert [one["name"] for one in (await serving.client.get("/releases")).json()] == ["v2", "v1"]


async def test_a_release_is_retired(serving):
    answer = await post(serving, "v2/retire", {"reason": "no better"})
    assert (answer.status_code, answer.json()["state"], answer.json()["note"]) == (202, "retired", "no better")


async def test_only_an_administrator_changes_releases():
    async with Serving(api_keys=KEYS) as serving:
        for who, status in (("r", 403), ("w", 403), ("x", 401)):
            shown = {"authorization": f"Bearer {who}"}
            assert_problem(await serving.client.get("/releases", headers=shown), status)
            assert_problem(await post(serving, "v1/promote", headers=shown), status)
            assert_problem(await post(serving, "rollback", headers=shown), status)
        await Shop(serving.release_repository).ready(against=RELEASE.name)
        answer = await post(serving, "v2/promote", {"reason": "b"}, headers={"authorization": "Bearer ada"})
        assert answer.json()["state"] == ReleaseState.LIVE
        assert serving.release_repository.transitions[-1].actor == "ada"


async def test_while_postgres_is_down_changes_of_releases_are_refused_with_the_reason(serving):
    serving.image_repository.down = True
    assert_problem(await post(serving, "v2/promote"), 503)


async def test_the_suggested_lowest_score_comes_with_the_release_and_with_each_answer():
    async with Serving() as serving:
        await serving.index(jpeg(1))
        found = ScoreCalibration(0.62, 0.004, 0.001, 4_000_000, 3000, 100_000, datetime.now(UTC))
        await serving.release_repository.record_calibration(RELEASE.name, found)
        (release,) = (await serving.client.get("/releases")).json()
        assert (release["calibration"]["min_score"], release["calibration"]["error"]) == (0.62, 0.004)
        assert (await serving.client.get("/stats")).json()["live_release"]["calibration"]["pairs"] == 4_000_000
        assert (await serving.search(jpeg(1))).json()["suggested_min_score"] == 0.62
        assert (await serving.client.get("/images/1/similar")).json()["suggested_min_score"] == 0.62


async def test_without_a_suggestion_the_answer_is_as_before():
    async with Serving() as serving:
        await serving.index(jpeg(1))
        assert "suggested_min_score" not in (await serving.search(jpeg(1))).json()
        (release,) = (await serving.client.get("/releases")).json()
        assert release["calibration"] is None
