"""Assignment of users to variants, concurrent experiments, and searches that apply variants."""

from collections import Counter
from dataclasses import replace

import pytest

from cli.experiment import parse_variant
from gateway.search.experiment_assignment import CACHE_S
from tests.pictures import jpeg
from tests.unit.gateway.test_gateway_trouble import KEYS, by
from tests.unit.serving import RELEASE, Serving, assert_problem
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.experiments import (
    BUCKETS,
    Experiment,
    Variant,
    assign,
    bucket,
    check,
    check_start,
    free_run,
    unit_of,
)
from visualsearch.domain.releases import ReleaseState

A, B = Variant("a"), Variant("b", candidates=400)
USERS = [unit_of(number, 0) for number in range(20_000)]


def running(name="one", layer="default", first=0, end=BUCKETS, variants=(A, B)):
    return Experiment(name, layer, variants, state="running", first_bucket=first, end_bucket=end)


def chi_square(observed, expected):
    return sum((seen - wanted) ** 2 / wanted for seen, wanted in zip(observed, expected, strict=True))


def test_buckets_are_even():
    counts = Counter(bucket("salt", unit, 100) for unit in USERS)
    # 99 degrees of freedom: 149 is passed by chance once in 1,000 salts.
    assert chi_square([counts[place] for place in range(100)], [200] * 100) < 149


def test_assignments_in_different_layers_are_independent():
    pairs = Counter((assign(running("one", "x"), unit).name, assign(running("two", "y"), unit).name) for unit in USERS)
    assert chi_square([pairs[one, two] for one in "ab" for two in "ab"], [5000] * 4) < 16.3


def test_each_experiment_assigns_users_independently_of_the_previous_one():
    seen = [unit for unit in USERS if assign(running("one"), unit).name == "a"]
    counts = Counter(assign(running("two"), unit).name for unit in seen)
    assert chi_square([counts["a"], counts["b"]], [len(seen) / 2] * 2) < 10.8


def test_a_user_keeps_the_variant_and_weights_and_shares_are_respected():
    experiment = running(end=2500, variants=(replace(A, weight=3), B))
    first = [assign(experiment, unit) for unit in USERS]
    assert first == [assign(experiment, unit) for unit in USERS]
    counts = Counter(variant and variant.name for variant in first)
    assert chi_square([counts["a"], counts["b"], counts[None]], [3750, 1250, 15_000]) < 13.8


def test_experiments_of_one_layer_never_overlap():
    one, two = running("one", end=5000), running("two", first=5000)
    assert all((assign(one, unit) is None) != (assign(two, unit) is None) for unit in USERS)


def test_assignment_has_not_changed_since_its_first_release():
    assert [bucket("layer default", f"user {number}") for number in range(3)] == [8419, 6780, 3867]


def test_the_first_free_run_that_is_long_enough_is_taken():
    beside = [running("x", first=1000, end=3000), running("y", first=6000, end=7000), running("z", "other")]
    assert free_run(beside, "default", 0.1) == (0, 1000)
    assert free_run(beside, "default", 0.3) == (3000, 6000)
    assert free_run([], "default", 1.0) == (0, BUCKETS)
    with pytest.raises(InvalidInput, match="no 40%"):
        free_run(beside, "default", 0.4)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "No Name"}, "no name"),
        ({"variants": (B,)}, "2 to 10 variants"),
        ({"variants": (B, B)}, "different names"),
        ({"variants": (A, Variant("b"))}, "sets anything"),
    ],
)
def test_an_invalid_experiment_is_refused_with_the_reason(change, why):
    with pytest.raises(InvalidInput, match=why):
        check(replace(running(), **change))


def test_an_experiment_needs_existing_releases_and_parameters_of_their_index():
    usable = {"": {"nprobe": 64}, "v1": {"nprobe": 64}}
    check_start(running(variants=(A, Variant("b", release="v1", search_params={"nprobe": 9}))), [], usable)
    for variant, why in [
        (Variant("b", release="v9"), "v9"),
        (Variant("b", search_params={"ef": 9}), "searched with nprobe"),
    ]:
        with pytest.raises(InvalidInput, match=why):
            check_start(running(variants=(A, variant)), [], usable)
    check_start(running(), [running("other")], usable)
    with pytest.raises(InvalidInput, match="both in one layer"):
        check_start(running(), [running("other", "elsewhere")], usable)


def test_a_variant_is_read_from_the_command_line():
    assert parse_variant("a") == {"name": "a", "search_params": {}}
    wide = parse_variant("wide@2:nprobe=128,candidates=400,release=v2,keep_near_duplicates=yes")
    assert (wide["weight"], wide["search_params"], wide["candidates"]) == (2, {"nprobe": 128}, 400)
    assert (wide["release"], wide["keep_near_duplicates"]) == ("v2", True)
    for wrong in ("a@b", "a:nprobe=many", "a:nprobe"):
        with pytest.raises(InvalidInput, match="no variant"):
            parse_variant(wrong)


@pytest.fixture
async def serving():
    async with Serving() as serving:
        yield serving


async def start(serving, *variants, name="one", **more):
    body = {"name": name, "variants": [{"name": "a"}, *variants], **more}
    assert (await serving.client.post("/experiments", json=body)).status_code == 201
    answer = await serving.client.post(f"/experiments/{name}/start")
    serving.clock.advance(60)
    return answer


async def user_of(serving, variant, name="one"):
    """A user who sees this variant."""
    experiment = await serving.experiment_repository.get(name)
    return next(user for user in range(100) if assign(experiment, unit_of(user, 0)).name == variant)


async def test_the_response_and_the_recorded_interactions_contain_the_variant(serving):
    await serving.index(jpeg(1))
    assert "experiments" not in (await serving.search(jpeg(1), user_id="1")).json()
    assert (await start(serving, {"name": "b", "candidates": 400})).json()["state"] == "running"
    for variant in "ab":
        user = await user_of(serving, variant)
        answer = (await serving.search(jpeg(1), user_id=str(user))).json()
        assert answer["experiments"] == {"one": variant}
        assert (await serving.client.get(f"/images/1/similar?user_id={user}")).json()["experiments"] == {"one": variant}
    await serving.gateway.drain()
    assert [one.variants.get("one") for one in serving.interaction_queue.interactions] == [None, "a", "a", "b", "b"]
    assert 'variant="one:b"' in (await serving.client.get("/metrics")).text


async def test_a_search_without_user_is_assigned_by_its_query(serving):
    await start(serving, {"name": "b", "candidates": 400})
    answers = [(await serving.search(jpeg(1))).json() for _ in range(40)]
    assert {answer["experiments"]["one"] for answer in answers} == {"a", "b"}


async def test_a_variant_chooses_release_parameters_candidates_and_policy(serving):
    other = replace(RELEASE, name="v2", collection="images_v2", search_params={"ef": 10})
    await serving.release_repository.add(other, ReleaseState.READY)
    await serving.vectors.create(other.collection, "hnsw")
    asked = []
    nearest = serving.vectors.nearest

    async def spy(*question):
        asked.append(question)
        return await nearest(*question)

    serving.vectors.nearest = spy
    variant = {"name": "b", "release": "v2", "search_params": {"ef": 99}, "candidates": 300, "min_side": 40}
    await start(serving, variant)
    answer = (await serving.search(jpeg(1), user_id=str(await user_of(serving, "b")))).json()
    collection, _, count, params, where = asked[-1]
    assert (answer["release"], collection, count, params) == ("v2", "images_v2", 300, {"ef": 99, "candidates": 300})
    assert where.min_side == 40
    assert (await serving.search(jpeg(1), user_id=str(await user_of(serving, "a")))).json()["release"] == "v1"


async def test_a_variant_folds_less_or_not_at_all(serving):
    for quality in range(3):
        await serving.index(jpeg(1), name=f"{quality}.jpg")
    await start(serving, {"name": "b", "keep_near_duplicates": True})
    counts = [
        len((await serving.search(jpeg(1), user_id=str(await user_of(serving, variant)))).json()["results"])
        for variant in "ab"
    ]
    assert counts == [1, 3]


async def test_an_experiment_whose_release_is_missing_is_skipped_for_all_variants(serving):
    await serving.release_repository.add(replace(RELEASE, name="v2", collection="images_v2"), ReleaseState.READY)
    await start(serving, {"name": "b", "release": "v2"})
    record = serving.release_repository.by_name["v2"]
    await serving.release_repository.put(replace(record, state=ReleaseState.RETIRED))
    for variant in "ab":
        answer = (await serving.search(jpeg(1), user_id=str(await user_of(serving, variant)))).json()
        assert (answer["release"], "experiments" in answer) == ("v1", False)


async def test_definitions_are_read_once_a_second_and_cached_while_postgres_is_down(serving):
    await start(serving, {"name": "b", "candidates": 400})
    await serving.search(jpeg(1), user_id="1")
    asked = []
    running = serving.experiment_repository.running

    async def spy():
        asked.append(1)
        return await running()

    serving.experiment_repository.running = spy
    for _ in range(3):
        await serving.search(jpeg(1), user_id="1")
    assert CACHE_S <= 1
    assert not asked
    serving.experiment_repository.down = True
    serving.clock.advance(60)
    assert "experiments" in (await serving.search(jpeg(1), user_id="1")).json()
    assert asked


async def test_a_refused_start_states_the_reason(serving):
    assert_problem(await start(serving, {"name": "b", "release": "v9"}), 422)
    assert_problem(await serving.client.post("/experiments/two/start"), 404)
    assert (await start(serving, {"name": "b", "candidates": 300}, name="x")).status_code == 200
    assert_problem(await start(serving, {"name": "b", "candidates": 300}, name="y"), 422)  # the layer is full
    assert_problem(await start(serving, {"name": "b", "candidates": 300}, name="z", layer="other"), 422)
    assert_problem(await serving.client.post("/experiments/x/start"), 422)
    assert (await serving.client.post("/experiments/x/stop")).json()["state"] == "stopped"
    assert_problem(await serving.client.post("/experiments/x/stop"), 422)
    assert [one["name"] for one in (await serving.client.get("/experiments")).json()] == ["z", "y", "x", "one"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x", "variants": []},
        {"name": "x", "variants": [{"name": "a"}, {"name": "b", "unknown": 1}]},
        {"name": "x", "variants": [{"name": "a"}, {"name": "b", "search_params": {"other": 1}}]},
        {"name": "x", "variants": [{"name": "a"}, {"name": "b", "candidates": 10**9}]},
        {"name": "x", "variants": [{"name": "a"}, {"name": "b", "candidates": 300}], "share": 0},
        {"name": "\x00", "variants": [{"name": "a"}, {"name": "b", "candidates": 300}]},
    ],
)
async def test_an_invalid_definition_is_refused(serving, body):
    assert_problem(await serving.client.post("/experiments", json=body), 422)


async def test_only_administrators_may_manage_experiments():
    async with Serving(api_keys=KEYS) as serving:
        for method, path in [("GET", ""), ("POST", ""), ("POST", "/x/start"), ("POST", "/x/stop")]:
            assert_problem(await serving.client.request(method, f"/experiments{path}", headers=by("bob")), 403)
