"""The REST interface on fakes: servers that are down, callers without permission, excessive requests."""

import asyncio
import gc
import hashlib

import pytest
from prometheus_client import REGISTRY

from gateway.api.middleware import MAX_BODY_BYTES
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.errors import ConfigurationError
from visualsearch.domain.images import Visibility

SERVERS = {
    "triton": "encoder",
    "milvus": "vectors",
    "postgres": "image_repository",
    "valkey": "events",
    "s3": "object_store",
}
KEYS = ",".join(
    f"{owner}:{role}:{hashlib.sha256(owner.encode()).hexdigest()}"
    for owner, role in {"reader": "read", "ada": "write", "bob": "write", "root": "admin"}.items()
)


@pytest.fixture
async def serving():
    async with Serving() as serving:
        yield serving


@pytest.fixture
async def guarded():
    async with Serving(api_keys=KEYS) as serving:
        yield serving


def by(owner):
    return {"authorization": f"Bearer {owner}"}


def pictures_lost():
    return REGISTRY.get_sample_value("visualsearch_background_failures_total", {"work": "query picture"}) or 0


@pytest.mark.parametrize("server", ["encoder", "vectors", "image_repository"])
async def test_a_search_names_the_server_that_is_down(serving, server):
    getattr(serving, server).down = True
    assert_problem(await serving.search(jpeg(1)), 503)


async def test_a_search_is_answered_although_it_cannot_be_recorded(serving):
    image = await serving.index(jpeg(1))
    serving.object_store.down = True
    before = pictures_lost()
    assert (await serving.search(jpeg(1))).json()["results"][0]["id"] == image
    await serving.gateway.drain()
    assert pictures_lost() == before + 1


async def test_a_full_encoder_is_a_503_and_is_counted(serving):
    serving.encoder.overloaded = True
    assert_problem(await serving.search(jpeg(1)), 503)
    assert 'visualsearch_shed_requests_total{reason="Overloaded"}' in (await serving.client.get("/metrics")).text


@pytest.mark.parametrize("server", ["image_repository", "object_store", "events"])
async def test_a_failed_upload_leaves_nothing_behind(serving, server):
    getattr(serving, server).down = True
    assert_problem(await serving.upload(jpeg(1)), 503)
    await eventually(lambda: not serving.image_repository.images and not serving.object_store.objects)
    assert not serving.events.entries


@pytest.mark.parametrize("name", SERVERS)
async def test_readiness_names_the_server_that_is_down(serving, name):
    await serving.search(jpeg(1))
    getattr(serving, SERVERS[name]).down = True
    answer = await serving.client.get("/ready")
    assert_problem(answer, 503)
    assert answer.json()["not_ready"] == [name]
    assert name in answer.json()["detail"]
    assert (await serving.client.get("/health")).json() == {"ok": True}


async def test_readiness_does_not_wait_for_a_server_that_hangs_nor_blame_another(serving):
    await serving.gateway.releases.live()
    serving.clock.advance(60)

    asked = []

    def hanging(name):
        async def hang():
            asked.append(name)
            await asyncio.sleep(60)

        return hang

    serving.image_repository.check, serving.release_repository.records = hanging("check"), hanging("records")
    async with asyncio.timeout(10):
        assert (await serving.client.get("/ready")).json()["not_ready"] == ["postgres"]
    assert sorted(asked) == ["check", "records"]


async def test_statistics_leave_out_unavailable_counts(serving):
    await serving.gateway.releases.live()
    serving.image_repository.down = True
    stats = (await serving.client.get("/stats")).json()
    assert stats["images"] is None
    assert stats["stream"]["pending"] == 0
    assert "Postgres" in " ".join(stats["errors"])


async def test_an_unexpected_error_is_a_problem_document_without_a_stack_trace(serving):
    async def broken(*_):
        raise RuntimeError("a secret")

    serving.encoder.encode = broken
    answer = await serving.search(jpeg(1))
    assert_problem(answer, 500)
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_valid_request_id_is_kept_and_an_invalid_one_replaced(serving):
    async def told(given):
        return (await serving.client.get("/health", headers={"x-request-id": given})).headers["x-request-id"]

    assert await told("abc-1.2_3") == "abc-1.2_3"
    for insane in ("a" * 65, "a b", "a/b", "\x7f"):
        assert len(await told(insane)) == 32


async def test_a_problem_document_contains_the_request_id(serving):
    answer = await serving.client.get("/nowhere", headers={"x-request-id": "mine"})
    assert answer.json()["request_id"] == "mine"


@pytest.mark.parametrize("path", ["/search", "/images"])
async def test_a_file_over_20_mb_is_too_large(serving, path):
    assert_problem(await serving.client.post(path, files={"image": ("x", jpeg(1) + bytes(20 * 2**20))}), 413)


# Of a form that is cut off the framework leaves the temporary file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("path", ["/search", "/click"])
async def test_a_body_without_content_length_is_limited_too(serving, path):
    async def chunks():
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(2 * MAX_BODY_BYTES // 2**20):
            yield bytes(2**20)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert_problem(await serving.client.post(path, content=chunks(), headers=headers), 413)
    gc.collect()


async def test_a_content_length_over_the_limit_is_refused_without_reading_the_body(serving):
    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": str(MAX_BODY_BYTES + 1)}
    assert_problem(await serving.client.post("/search", content=b"little", headers=headers), 413)


async def test_a_caller_over_its_rate_gets_the_time_to_wait():
    async with Serving(rate_limit=2) as serving, serving.client_from("10.0.0.1") as client:
        answers = [await client.get("/images/1") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [404, 404, 429]
        assert_problem(answers[2], 429)
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200
        assert (await serving.client.get("/images/1")).status_code == 404  # this machine has no limit


async def test_a_malformed_request_counts_against_the_rate():
    async with Serving(rate_limit=1) as serving, serving.client_from("10.0.0.1") as client:
        assert_problem(await client.post("/search"), 422)
        assert_problem(await client.post("/search"), 429)


CALLS = [
    ("POST", "/search"),
    ("POST", "/images"),
    ("POST", "/click"),
    ("GET", "/images/1"),
    ("GET", "/images/1/content"),
    ("GET", "/images/1/similar"),
    ("GET", "/images/none"),
    ("DELETE", "/images/1"),
    ("GET", "/stats"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_with_keys_a_missing_key_is_reported_before_other_errors(guarded, method, path):
    answer = await guarded.client.request(method, path)
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert_problem(await guarded.client.request(method, path, headers=by("nobody")), 401)


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/"])
async def test_probes_and_the_page_need_no_key(guarded, path):
    assert (await guarded.client.get(path)).status_code == 200


async def test_a_reader_may_search_but_not_upload_or_delete(guarded):
    image = await guarded.index(jpeg(1))
    files = {"image": ("x", jpeg(1))}
    assert (await guarded.client.post("/search", files=files, headers=by("reader"))).status_code == 200
    assert_problem(await guarded.upload(jpeg(1), by("reader")), 403)
    assert_problem(await guarded.client.delete(f"/images/{image}", headers=by("reader")), 403)


async def test_a_writer_deletes_its_own_and_an_administrator_anything(guarded):
    first, second = [(await guarded.upload(jpeg(seed), by("ada"))).json()["id"] for seed in (1, 2)]
    assert_problem(await guarded.client.delete(f"/images/{first}", headers=by("bob")), 403)
    assert (await guarded.client.delete(f"/images/{first}", headers=by("ada"))).status_code == 204
    assert (await guarded.client.delete(f"/images/{second}", headers=by("root"))).status_code == 204


@pytest.mark.usefixtures("impatient")
async def test_a_private_image_is_visible_to_its_owner_only(guarded):
    image = await guarded.index(jpeg(1), owner="ada", visibility=Visibility.PRIVATE)
    query = (await guarded.image_repository.allocate_query_ids(1))[0]
    click = {"user_id": 1, "query_image_id": query, "displayed_image_id": image, "rank": 1}

    async def seen_by(owner):
        files = {"image": ("x", jpeg(1))}
        found = (await guarded.client.post("/search", files=files, headers=by(owner))).json()["results"]
        gets = [await guarded.client.get(f"/images/{image}{path}", headers=by(owner)) for path in ("", "/content")]
        gets.append(await guarded.client.get(f"/images/{image}/similar", headers=by(owner)))
        gets.append(await guarded.client.get(f"/images/{image}/content", headers={**by(owner), "If-None-Match": "*"}))
        told = await guarded.client.post("/click", json=click, headers=by(owner))
        return [hit["id"] for hit in found], [answer.status_code for answer in (*gets, told)]

    assert await seen_by("ada") == ([image], [200, 200, 200, 304, 204])
    assert await seen_by("bob") == ([], [404, 404, 404, 404, 404])
    assert_problem(await guarded.client.delete(f"/images/{image}", headers=by("bob")), 404)
    assert (await guarded.client.delete(f"/images/{image}", headers=by("ada"))).status_code == 204


async def test_blocked_ids_are_never_shown_and_must_be_numbers():
    async with Serving(blocked_ids="1, 3") as serving:
        for seed in (1, 2, 3):
            await serving.index(jpeg(seed))
        assert [hit["id"] for hit in (await serving.search(jpeg(1))).json()["results"]] == [2]
    with pytest.raises(ConfigurationError, match="BLOCKED_IDS"):
        Serving(blocked_ids="1,x")


async def test_blocked_sources_and_small_images_are_never_shown():
    async with Serving(blocked_sources="bad, worse", min_result_side=50) as serving:
        await serving.index(jpeg(1), source="worse")
        await serving.index(jpeg(2, 100, 40))
        shown = await serving.index(jpeg(3))
        assert [hit["id"] for hit in (await serving.search(jpeg(1))).json()["results"]] == [shown]
