"""Who changes something by REST is in the audit log, with how it ended."""

import hashlib

import pytest

from tests.pictures import jpeg
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.indexing import Delivery, Event, EventKind

OWNERS = {"ada": "write", "root": "admin"}
KEYS = ",".join(f"{owner}:{role}:{hashlib.sha256(owner.encode()).hexdigest()}" for owner, role in OWNERS.items())


def by(owner):
    return {"authorization": f"Bearer {owner}"}


@pytest.fixture
async def serving():
    async with Serving(api_keys=KEYS) as serving:
        yield serving


async def recorded(serving):
    return [(one.actor, one.action, one.subject, one.outcome) for one in serving.audit_log.kept.values()]


async def test_a_deletion_is_recorded_with_its_caller_and_request(serving):
    image = await serving.index(jpeg(1), owner="ada")
    answer = await serving.client.delete(f"/images/{image}", headers=by("ada"))
    assert answer.status_code == 204
    assert await recorded(serving) == [("ada", "image.delete", f"image {image}", "done")]
    (entry,) = serving.audit_log.kept.values()
    assert entry.request_id == answer.headers["x-request-id"]


async def test_a_refused_deletion_is_recorded_too(serving):
    image = await serving.index(jpeg(1), owner="root")
    assert_problem(await serving.client.delete(f"/images/{image}", headers=by("ada")), 403)
    ((actor, action, _, outcome),) = await recorded(serving)
    assert (actor, action) == ("ada", "image.delete")
    assert outcome.startswith("failed: ")


async def test_nothing_is_deleted_that_cannot_be_recorded(serving, monkeypatch):
    image = await serving.index(jpeg(1), owner="ada")

    async def refuse(_entry):
        raise Unavailable("Postgres")

    monkeypatch.setattr(serving.audit_log, "begin", refuse)
    assert_problem(await serving.client.delete(f"/images/{image}", headers=by("ada")), 503)
    assert (await serving.client.get(f"/images/{image}", headers=by("ada"))).status_code == 200


async def test_marks_retries_and_experiments_are_recorded(serving):
    one, other = await serving.index(jpeg(1), owner="ada"), await serving.index(jpeg(2), owner="ada")
    pair = {"image_ids": [one, other]}
    for method in ("POST", "DELETE"):
        answer = await serving.client.request(method, "/not-duplicates", json=pair, headers=by("ada"))
        assert answer.status_code == 204
    event = Event(EventKind.CREATED, (await serving.image_repository.get(one)).uri)
    await serving.events.dead_letter(Delivery("1-1", event, 5), "a reason")
    await serving.client.post("/dead-letters/retry", json={"entries": []}, headers=by("ada"))
    variants = [{"name": "a"}, {"name": "b", "candidates": 400}]
    defined = await serving.client.post("/experiments", json={"name": "x", "variants": variants}, headers=by("root"))
    assert defined.status_code == 201, defined.text
    for verb in ("start", "stop"):
        answer = await serving.client.post(f"/experiments/x/{verb}", headers=by("root"))
        assert answer.status_code == 200, answer.text
    assert [(actor, action, outcome) for actor, action, _, outcome in await recorded(serving)] == [
        ("ada", "not-duplicates.mark", "done"),
        ("ada", "not-duplicates.unmark", "done"),
        ("ada", "dead-letters.retry", "done"),
        ("root", "experiment.create", "done"),
        ("root", "experiment.start", "done"),
        ("root", "experiment.stop", "done"),
    ]


@pytest.mark.parametrize("owner", ["ada", "root"])
@pytest.mark.parametrize("entries", [[], ["no such entry"] * 1000])
async def test_a_retry_of_no_dead_letter_is_not_recorded(serving, owner, entries):
    answer = await serving.client.post("/dead-letters/retry", json={"entries": entries}, headers=by(owner))
    assert answer.json() == {"retried": 0}
    assert await recorded(serving) == []


@pytest.mark.parametrize("owner", ["ada", "root"])
async def test_a_retry_is_recorded_with_the_dead_letters_that_there_are(serving, owner):
    uri = (await serving.image_repository.get(await serving.index(jpeg(1), owner="ada"))).uri
    await serving.events.dead_letter(Delivery("1-1", Event(EventKind.CREATED, uri), 5), "a reason")
    (entry,) = serving.events.dead
    given = {"entries": [entry, "no such entry"]}
    answer = await serving.client.post("/dead-letters/retry", json=given, headers=by(owner))
    assert answer.json() == {"retried": 1}
    assert await recorded(serving) == [(owner, "dead-letters.retry", entry, "done")]


async def test_without_keys_the_address_is_recorded():
    async with Serving() as serving:
        image = await serving.index(jpeg(1))
        await serving.client.delete(f"/images/{image}")
        ((actor, *_),) = await recorded(serving)
        assert actor == "anybody at 127.0.0.1"
