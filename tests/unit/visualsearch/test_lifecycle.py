"""The lifecycle of a release, from building to retired."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.releases import NEW, OLD, RAMP, Shop, verdict
from visualsearch.domain.errors import Conflict, InvalidInput, NotFound
from visualsearch.domain.release_state import Action, Canary, Job
from visualsearch.domain.releases import ReleaseState
from visualsearch.releases.lifecycle import Lifecycle

THIRD = replace(NEW, name="v3", model_version=3, collection="images_v3")


@pytest.fixture
async def shop():
    return await Shop().open()


async def test_a_release_goes_from_building_to_live_and_the_old_one_stays_ready(shop):
    await shop.ready()
    await shop.lifecycle.canary("v2", RAMP)
    assert (await shop.standing()).canary.share == 1
    live = await shop.lifecycle.promote("v2", reason="better on drawings")
    assert live.release == NEW
    assert await shop.states() == {"v1": "ready", "v2": "live"}
    assert await shop.actions() == ["begin", "ready", "evaluate", "canary", "promote"]


async def test_the_history_contains_actor_action_and_reason(shop):
    await shop.ready()
    await shop.lifecycle.promote("v2", reason="better on drawings")
    came, went = await shop.log.history(None, 2)
    assert (came.release, came.actor, came.reason, came.replaced) == ("v2", "ada", "better on drawings", "v1")
    assert came.evaluation.passed
    assert (went.release, went.to_state, went.reason) == ("v1", "ready", "replaced by v2; better on drawings")


async def test_a_rollback_restores_the_replaced_release_and_a_second_one_its_predecessor(shop):
    await shop.ready()
    await shop.lifecycle.promote("v2")
    await shop.ready(THIRD, against="v2")
    await shop.lifecycle.promote("v3")
    assert (await shop.lifecycle.roll_back("slow")).release.name == "v2"
    assert (await shop.lifecycle.roll_back("bad")).release.name == "v1"
    with pytest.raises(Conflict, match="nothing to go back to"):
        await shop.lifecycle.roll_back("worse")
    assert await shop.states() == {"v1": "live", "v2": "ready", "v3": "ready"}


async def test_a_rollback_skips_retired_releases(shop):
    await shop.ready()
    await shop.lifecycle.promote("v2")
    await shop.ready(THIRD, against="v2")
    await shop.lifecycle.promote("v3")
    await shop.lifecycle.retire("v2")
    assert (await shop.lifecycle.roll_back("")).release.name == "v1"


async def test_a_rollback_ends_a_canary_first_and_leaves_the_live_one_alone(shop):
    await shop.ready()
    await shop.lifecycle.canary("v2", RAMP)
    assert (await shop.lifecycle.roll_back("errors")).release == OLD
    assert await shop.states() == {"v1": "live", "v2": "ready"}
    assert (await shop.standing()).canary is None
    assert (await shop.standing()).note == "errors"


async def test_a_canary_that_has_already_ended_is_not_rolled_back_again(shop):
    await shop.ready()
    await shop.lifecycle.promote("v2")
    with pytest.raises(Conflict, match="no longer a canary"):
        await shop.lifecycle.roll_back("late", canary="v2")
    assert (await shop.states())["v2"] == "live"


async def test_a_canary_is_ramped_step_by_step_and_a_step_is_made_once(shop):
    await shop.ready()
    await shop.lifecycle.canary("v2", RAMP)
    for _ in range(2):
        await shop.lifecycle.step("v2", 1)
    assert (await shop.standing()).canary.share == 2
    assert (await shop.actions()).count("step") == 1


@pytest.mark.parametrize("steps", [(), (0.0,), (5.0, 2.0), (1.0, 1.0), (60.0,)])
async def test_steps_of_a_canary_must_rise_and_stay_small(shop, steps):
    await shop.ready()
    with pytest.raises(InvalidInput, match="steps must rise"):
        await shop.lifecycle.canary("v2", replace(RAMP, steps=steps))


async def test_there_is_one_canary_at_a_time(shop):
    await shop.ready()
    await shop.ready(THIRD)
    await shop.lifecycle.canary("v2", RAMP)
    with pytest.raises(Conflict, match="v2 is the canary"):
        await shop.lifecycle.canary("v3", RAMP)
    await shop.lifecycle.canary("v2", Canary((5.0,), 1.0, 10))
    assert (await shop.standing()).canary.share == 5


@pytest.mark.parametrize("move", ["promote", "canary"])
async def test_a_release_that_failed_its_evaluation_gets_no_traffic(shop, move):
    go = {"promote": shop.lifecycle.promote, "canary": lambda name, **how: shop.lifecycle.canary(name, RAMP, **how)}
    await shop.lifecycle.begin(NEW)
    await shop.lifecycle.ready("v2")
    with pytest.raises(Conflict, match="not been evaluated"):
        await go[move]("v2")
    await shop.lifecycle.evaluated("v2", verdict(passed=False))
    with pytest.raises(Conflict, match=r"ndcg@10 is 0\.1, must be >= 0\.5"):
        await go[move]("v2")
    await shop.lifecycle.evaluated("v2", verdict(against="v0"))
    with pytest.raises(Conflict, match="against v0, and v1 is live"):
        await go[move]("v2")
    old = verdict()
    await shop.lifecycle.evaluated("v2", replace(old, at=old.at - timedelta(days=2)))
    with pytest.raises(Conflict, match="too long ago"):
        await go[move]("v2")
    assert (await shop.states())["v1"] == "live"
    await go[move]("v2", force="forced: the exhibition opens today")
    assert (await shop.log.history("v2", 1))[0].reason.endswith("forced: the exhibition opens today")


async def test_an_invalid_change_is_refused_and_has_no_effect(shop):
    await shop.lifecycle.begin(NEW)
    lifecycle = shop.lifecycle
    for move, trouble in (
        (lifecycle.promote("v2"), "is building: to be promoted"),
        (lifecycle.retire("v1"), "is live: to be retired"),
        (lifecycle.shadow("v2", 5), "is building: to run as a shadow"),
        (lifecycle.ready("v1"), "is live: to become ready"),
        (lifecycle.begin(OLD), "is live already"),
        (lifecycle.begin(replace(NEW, profile="ivf_pq")), "was started as"),
    ):
        with pytest.raises(Conflict, match=trouble):
            await move
    with pytest.raises(NotFound, match="no release 'v9'"):
        await lifecycle.promote("v9")
    assert await shop.states() == {"v1": "live", "v2": "building"}
    assert await shop.actions() == ["begin"]


async def test_of_two_concurrent_operators_the_second_gets_the_new_state(shop):
    await shop.ready()
    await shop.ready(THIRD)
    other = Lifecycle(shop.log, "bob")
    results = await asyncio.gather(
        shop.lifecycle.promote("v2"), other.promote("v3"), other.promote("v2"), return_exceptions=True
    )
    assert [type(one).__name__ for one in results] == ["ReleaseRecord", "Conflict", "Conflict"]
    assert (await shop.states())["v2"] == "live"


async def test_a_failed_build_is_in_the_history_and_can_resume(shop):
    await shop.lifecycle.failed(NEW, "Triton cannot load it")
    assert "v2" not in await shop.states()
    assert [(one.action, one.reason) for one in await shop.log.history("v2", 9)] == [
        (Action.FAIL, "Triton cannot load it")
    ]
    await shop.lifecycle.begin(NEW)
    await shop.lifecycle.failed(NEW, "Milvus is away")
    assert (await shop.standing()).note == "Milvus is away"
    await shop.lifecycle.begin(NEW)
    assert (await shop.states())["v2"] == "building"


async def test_a_requested_build_that_cannot_start_is_retired(shop):
    await shop.lifecycle.begin(NEW, Job.BUILD)
    await shop.lifecycle.failed(NEW, "corrupt")
    assert (await shop.states())["v2"] == ReleaseState.RETIRED


async def test_one_release_at_a_time_runs_as_a_shadow_until_it_is_shown(shop):
    await shop.ready()
    await shop.ready(THIRD)
    await shop.lifecycle.shadow("v2", 25)
    with pytest.raises(Conflict, match="v2 runs as a shadow"):
        await shop.lifecycle.shadow("v3", 5)
    with pytest.raises(InvalidInput, match="0 to 100"):
        await shop.lifecycle.shadow("v2", 101)
    await shop.lifecycle.canary("v2", RAMP)
    assert (await shop.standing()).shadow == 0
