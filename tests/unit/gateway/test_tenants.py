"""What belongs to one owner is nobody else's: clicks, pairs, counts, dead letters; and what is blocked, nobody's."""

import hashlib

import pytest

from tests.pictures import jpeg
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.images import Visibility
from visualsearch.domain.indexing import Delivery, Event, EventKind
from visualsearch.domain.interactions import Click

ROLES = {"ada": "write", "bob": "write", "carl": "read", "root": "admin"}
KEYS = ",".join(f"{owner}:{role}:{hashlib.sha256(owner.encode()).hexdigest()}" for owner, role in ROLES.items())


def by(owner):
    return {"authorization": f"Bearer {owner}"}


@pytest.fixture
async def serving():
    async with Serving(api_keys=KEYS) as serving:
        yield serving


async def query_of(serving, owner):
    answer = await serving.client.post("/search", files={"image": ("x.jpg", jpeg(1))}, headers=by(owner))
    assert answer.status_code == 200
    return answer.json()["query_image_id"]


async def write_interactions(serving):
    """Write to the catalog what waits in the queue, as the indexer does."""
    await serving.gateway.drain()
    await serving.interaction_repository.write(serving.interaction_queue.interactions)


async def click(serving, owner, query, image):
    body = {"user_id": 7, "query_image_id": query, "displayed_image_id": image, "rank": 1}
    return await serving.client.post("/click", json=body, headers=by(owner))


async def test_only_who_searched_may_click_on_the_results(serving):
    image = await serving.index(jpeg(1))
    query = await query_of(serving, "ada")
    await write_interactions(serving)
    assert (await click(serving, "ada", query, image)).status_code == 204
    for owner in ("bob", "carl", "root"):
        assert_problem(await click(serving, owner, query, image), 404)
    assert [one.checked for one in serving.interaction_queue.interactions[1:]] == [True]


@pytest.mark.usefixtures("impatient")
async def test_a_click_on_a_search_that_is_not_written_yet_waits_for_it(serving):
    image = await serving.index(jpeg(1))
    query = await query_of(serving, "ada")
    told = await click(serving, "ada", query, image)
    assert told.status_code == 204
    for owner in ("bob", "root"):
        assert (await click(serving, owner, query, image)).status_code == 204, "nobody knows yet whose it is"
    await write_interactions(serving)
    kept = [one for one in serving.interaction_repository.interactions.values() if isinstance(one, Click)]
    assert [(one.owner, one.checked) for one in kept] == [("ada", False)]


async def test_whoever_sees_an_image_may_have_searched_with_it(serving):
    public, private = [await serving.index(jpeg(n), owner="ada", visibility=v) for n, v in enumerate(Visibility)]
    assert (await click(serving, "bob", public, public)).status_code == 204
    assert_problem(await click(serving, "bob", private, public), 404)
    assert (await click(serving, "ada", private, public)).status_code == 204


@pytest.mark.parametrize(
    ("who", "pair", "status"),
    [
        ("ada", ("ada", "ada"), 204),
        ("ada", ("ada", "bob"), 403),
        ("ada", ("bob", "bob"), 403),
        ("ada", ("", ""), 403),
        ("carl", ("carl", "carl"), 403),
        ("root", ("ada", "bob"), 204),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_pair_is_marked_by_whom_both_images_belong_to_or_an_administrator(serving, who, pair, status, method):
    ids = [await serving.index(jpeg(number), owner=owner) for number, owner in enumerate(pair)]
    if method == "DELETE":
        await serving.duplicate_exclusions.mark_not_duplicates(*ids, "root")
    before = dict(serving.duplicate_exclusions.pairs)
    answer = await serving.client.request(method, "/not-duplicates", json={"image_ids": ids}, headers=by(who))
    assert answer.status_code == status, answer.text
    assert (serving.duplicate_exclusions.pairs == before) == (status != 204)


async def test_an_owner_counts_what_it_may_see_and_an_administrator_everything(serving):
    for owner in ("ada", "bob"):
        for number, visibility in enumerate(Visibility):
            await serving.index(jpeg(number), owner=owner, visibility=visibility, name=f"{owner}/{number}.jpg")
    await serving.index(jpeg(9), owner="ada", visibility=Visibility.PRIVATE)
    stats = {who: (await serving.client.get("/stats", headers=by(who))).json() for who in ROLES}
    assert {who: told["images"]["total"] for who, told in stats.items()} == {"ada": 4, "bob": 3, "carl": 2, "root": 5}
    assert {who: told["live_release"]["name"] for who, told in stats.items()} == dict.fromkeys(ROLES, "v1")
    system = ("stream", "collections", "builds", "differences", "interactions_waiting", "recall", "releases")
    assert all(stats["root"][part] is not None for part in system)
    assert all(stats[who][part] is None for who in ("ada", "bob", "carl") for part in system)
    assert not any(told["errors"] for told in stats.values())


async def test_an_owner_sees_and_retries_the_dead_letters_of_its_own_images(serving):
    for number, owner in enumerate(("ada", "bob", "")):
        image = await serving.index(jpeg(number), owner=owner)
        event = Event(EventKind.CREATED, serving.image_repository.images[image].uri, image)
        await serving.events.dead_letter(Delivery(f"{number}-1", event, 5), owner)
    await serving.events.dead_letter(Delivery("9-1", Event(EventKind.CREATED, "s3://images/none.jpg"), 5), "no row")

    async def seen_by(who):
        return [one["reason"] for one in (await serving.client.get("/dead-letters", headers=by(who))).json()]

    async def retried_by(who, entries=()):
        body = {"entries": list(entries)}
        answer = await serving.client.post("/dead-letters/retry", json=body, headers=by(who))
        return answer.json().get("retried", answer.status_code)

    assert await seen_by("root") == ["no row", "", "bob", "ada"]
    assert [await seen_by(who) for who in ("ada", "bob", "carl")] == [["ada"], ["bob"], []]
    assert await retried_by("carl") == 403
    assert await retried_by("bob", serving.events.dead) == 1
    assert await retried_by("bob") == 0
    assert await seen_by("root") == ["no row", "", "ada"]
    assert await retried_by("root") == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("blocked", [{"blocked_ids": "1"}, {"blocked_sources": "bad"}])
async def test_what_is_blocked_is_as_if_it_were_not_there(blocked):
    async with Serving(api_keys=KEYS, **blocked) as serving:
        bad, good = await serving.index(jpeg(1), source="bad", owner="ada"), await serving.index(jpeg(2))
        for who in ROLES:
            query = await query_of(serving, who)
            await write_interactions(serving)
            for path in (
                f"/images/{bad}/content",
                f"/images/{bad}/content?size=64",
                f"/images/{bad}/similar",
                f"/explain?query_image_id={query}&image_id={bad}",
                f"/explain?query_image_id={bad}&image_id={good}",
            ):
                answer = await serving.client.get(path, headers=by(who))
                assert_problem(answer, 404)
            assert_problem(await click(serving, who, good, bad), 404)
        told = {who: (await serving.client.get(f"/images/{bad}", headers=by(who))).status_code for who in ROLES}
        assert told == {"ada": 200, "bob": 404, "carl": 404, "root": 200}, "who may delete it must be able to find it"
        missing = await serving.client.get("/images/999/content", headers=by("bob"))
        hidden = await serving.client.get(f"/images/{bad}/content", headers=by("bob"))
        assert missing.json()["detail"].replace("999", str(bad)) == hidden.json()["detail"]
        assert (await serving.client.delete(f"/images/{bad}", headers=by("ada"))).status_code == 204


async def test_a_private_image_without_an_owner_is_for_administrators_alone(serving):
    image = await serving.index(jpeg(1), visibility=Visibility.PRIVATE)
    for path in ("", "/content", "/similar"):
        got = {who: (await serving.client.get(f"/images/{image}{path}", headers=by(who))).status_code for who in ROLES}
        assert got == {"ada": 404, "bob": 404, "carl": 404, "root": 200}


async def test_an_owner_stores_no_more_than_its_quota_and_sees_what_it_stores():
    async with Serving(api_keys=KEYS, quota_images=2) as serving:
        first, *_ = [await serving.upload(jpeg(number), by("ada")) for number in range(2)]
        size = len(jpeg(0)) + len(jpeg(1))
        usage = {"images": 2, "bytes": size, "images_limit": 2, "bytes_limit": None}
        assert (await serving.client.get("/stats", headers=by("ada"))).json()["usage"] == usage
        assert_problem(refused := await serving.upload(jpeg(2), by("ada")), 403)
        assert "You may store 2 pictures" in refused.json()["detail"]
        assert len(serving.object_store.objects) == 2
        assert (await serving.upload(jpeg(2), by("bob"))).status_code == 202
        deleted = await serving.client.delete(first.headers["location"], headers=by("ada"))
        assert deleted.status_code == 204
        assert (await serving.upload(jpeg(2), by("ada"))).status_code == 202
        assert (await serving.client.get("/stats", headers=by("root"))).json()["usage"]["images"] == 0


async def test_a_picture_that_is_over_the_quota_in_bytes_is_refused():
    async with Serving(api_keys=KEYS, quota_bytes=len(jpeg(0)) + 10) as serving:
        assert (await serving.upload(jpeg(0), by("ada"))).status_code == 202
        assert_problem(await serving.upload(jpeg(1), by("ada")), 403)
