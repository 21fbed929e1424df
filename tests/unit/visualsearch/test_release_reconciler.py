"""Aliases, models and collections follow the states of the releases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.model_control import FakeModelControl
from tests.fakes.vectors import FakeVectors
from tests.unit.releases import NEW, OLD, RAMP, Shop
from visualsearch.domain.errors import ConfigurationError, Unavailable
from visualsearch.domain.release_state import Job
from visualsearch.domain.releases import ReleaseState
from visualsearch.releases.active_releases import CANARY_ALIAS, LIVE_ALIAS
from visualsearch.releases.release_reconciler import GRACE, follow


@pytest.fixture
async def shop():
    shop = await Shop().open()
    await shop.ready()
    shop.vectors, shop.models = FakeVectors(OLD.collection, NEW.collection), FakeModelControl(1, 2)
    return shop


async def followed(shop, later=timedelta(0)):
    return await follow(await shop.log.records(), shop.vectors, shop.models, now=datetime.now(UTC) + later)


async def test_aliases_follow_the_live_release_and_the_canary(shop):
    await followed(shop)
    assert shop.vectors.aliases == {LIVE_ALIAS: "images_v1"}
    await shop.lifecycle.canary("v2", RAMP)
    await followed(shop)
    assert shop.vectors.aliases == {LIVE_ALIAS: "images_v1", CANARY_ALIAS: "images_v2"}
    await shop.lifecycle.promote("v2")
    await followed(shop)
    assert shop.vectors.aliases == {LIVE_ALIAS: "images_v2"}
    assert await followed(shop) == []


async def test_a_retired_release_keeps_its_model_and_collection_until_no_request_can_use_them(shop):
    await shop.lifecycle.retire("v2")
    await followed(shop)
    assert "images_v2" in shop.vectors.rows
    assert shop.models.loaded == {1, 2}
    done = await followed(shop, 2 * GRACE)
    assert "images_v2" not in shop.vectors.rows
    assert shop.models.loaded == {1}
    assert "The encoder's version 2 is unloaded." in done


async def test_a_model_that_another_release_uses_stays(shop):
    other = OLD.__class__("v2_other", 2, NEW.fingerprint, "images_v2_other", "ivf_pq")
    await shop.ready(other)
    await shop.lifecycle.retire("v2")
    await followed(shop, 2 * GRACE)
    assert shop.models.loaded == {1, 2}


async def test_a_model_of_two_retired_releases_stays_while_a_request_can_use_one_of_them(shop):
    await shop.lifecycle.retire("v2")
    twin = replace(NEW, name="v2_twin", collection="images_v2_twin")
    await shop.log.add(twin, ReleaseState.RETIRED)
    shop.log.by_name["v2"] = replace(shop.log.by_name["v2"], since=datetime.now(UTC) - 2 * GRACE)
    await followed(shop)
    assert "images_v2" not in shop.vectors.rows
    assert shop.models.loaded == {1, 2}, "the twin was retired a moment ago"
    await followed(shop, 2 * GRACE)
    assert shop.models.loaded == {1}


async def test_a_model_that_triton_lost_by_a_restart_is_loaded_again(shop):
    shop.models.loaded = {1}
    await followed(shop)
    assert shop.models.loaded == {1, 2}


async def test_a_model_that_no_release_knows_is_left_alone(shop):
    shop.models.loaded = {1, 2, 7}
    assert not any("7" in sentence for sentence in await followed(shop))
    assert shop.models.loaded == {1, 2, 7}


async def test_a_build_that_is_only_requested_does_not_block_the_reconciler(shop):
    shop.models.broken = {3}
    asked = OLD.__class__("v3", 3, "c" * 64, "images_v3", "hnsw")
    await shop.lifecycle.begin(asked, Job.BUILD)
    await followed(shop)
    assert shop.models.loaded == {1, 2}


async def test_a_failure_is_logged_and_the_next_run_succeeds(shop):
    shop.models.loaded, shop.models.broken = {1}, {2}
    with pytest.raises(ConfigurationError):
        await followed(shop)
    shop.vectors.down = True
    with pytest.raises(Unavailable):
        await followed(shop)
    shop.models.broken, shop.vectors.down = set(), False
    await followed(shop)
    assert shop.models.loaded == {1, 2}
