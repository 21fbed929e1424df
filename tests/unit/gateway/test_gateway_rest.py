"""The REST interface on fakes: valid requests, and errors of callers."""

import asyncio
import gc
import re
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from gateway import statistics
from tests.pictures import jpeg, noise
from tests.unit.serving import KEY, RELEASE, Serving, assert_problem
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.images import ImageMetadata
from visualsearch.domain.indexing import EventKind
from visualsearch.domain.interactions import hashed_user
from visualsearch.domain.query_images import part_named
from visualsearch.domain.releases import ReleaseState

ANSWER = {"query_image_id", "results", "latency_ms", "timings_ms", "release"}
RESULT = {"id", "score", "uri", "rank", "width", "height", "near_duplicates"}


@pytest.fixture
async def serving():
    async with Serving() as serving:
        yield serving


async def form(serving, path, content, kind="multipart/form-data; boundary=x"):
    return await serving.client.post(path, content=content, headers={"content-type": kind})


async def test_a_search_answers_as_documented(serving):
    image = await serving.index(jpeg(1))
    await serving.index(jpeg(2))
    answer = await serving.search(jpeg(1), k="1")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == ANSWER
    assert [set(hit) for hit in body["results"]] == [RESULT]
    assert (body["results"][0]["id"], body["results"][0]["rank"]) == (image, 1)
    assert body["release"] == RELEASE.name


async def test_fifty_results_come_back_unless_another_number_is_asked_for(serving):
    for seed in range(55):
        await serving.index(jpeg(seed, 64, 48))
    assert len((await serving.search(jpeg(1), near_duplicates="keep")).json()["results"]) == 50
    assert len((await serving.search(jpeg(1), near_duplicates="keep", k="55")).json()["results"]) == 55


async def test_a_box_outside_the_picture_is_refused(serving):
    assert (await serving.search(jpeg(1), bbox="0,0,320,240")).status_code == 200
    assert_problem(await serving.search(jpeg(1), bbox="0,0,321,240"), 422)


BAD_BOXES = ["", " ", "1,2,3", "1,2,3,4,5", "a,b,c,d", "5,5,5,9", "-1,0,9,9", "nan,0,1,1", "1.5,0,9,9"]


@pytest.mark.parametrize("bbox", BAD_BOXES)
async def test_a_malformed_box_is_refused(serving, bbox):
    assert_problem(await serving.search(jpeg(1), bbox=bbox), 422)


@pytest.mark.parametrize("k", ["0", "-1", "201", "1000000000", "9" * 30, "abc", "1.5", ""])
async def test_a_k_out_of_range_is_refused(serving, k):
    assert_problem(await serving.search(jpeg(1), k=k), 422)
    image = await serving.index(jpeg(1))
    assert_problem(await serving.client.get(f"/images/{image}/similar", params={"k": k}), 422)


@pytest.mark.parametrize("score", ["-1.01", "1.01", "nan", "inf", "high", ""])
async def test_a_lowest_score_out_of_range_is_refused(serving, score):
    assert_problem(await serving.search(jpeg(1), min_score=score), 422)
    image = await serving.index(jpeg(1))
    assert_problem(await serving.client.get(f"/images/{image}/similar", params={"min_score": score}), 422)


async def test_pictures_below_the_lowest_score_are_left_out(serving):
    one, other = [await serving.index(jpeg(number)) for number in (1, 2)]
    results = (await serving.search(jpeg(1), min_score="0.9")).json()["results"]
    assert [hit["id"] for hit in results] == [one]
    similar = await serving.client.get(f"/images/{other}/similar", params={"min_score": 0.9})
    assert similar.json()["results"] == []


@pytest.mark.parametrize("fields", [{"near_duplicates": "maybe"}, {"user_id": "me"}, {"user_id": str(2**63)}])
async def test_other_fields_of_a_search_that_do_not_fit_are_refused(serving, fields):
    assert_problem(await serving.search(jpeg(1), **fields), 422)


@pytest.mark.parametrize("fields", [{"visibility": "secret"}, {"source": "a\0b"}, {"source": "x" * 201}])
async def test_fields_of_an_upload_that_do_not_fit_are_refused(serving, fields):
    assert_problem(await serving.upload(jpeg(1), **fields), 422)
    assert not serving.image_repository.images


@pytest.mark.parametrize("path", ["/search", "/images"])
async def test_a_form_without_exactly_one_picture_is_refused(serving, path):
    post = serving.client.post
    assert_problem(await post(path), 422)
    assert_problem(await post(path, data={"image": "text where a file belongs"}), 422)
    assert_problem(await post(path, json={"image": "x"}), 422)
    assert_problem(await post(path, files={"image": ("x.jpg", b"")}), 422)
    assert_problem(await post(path, files={"picture": ("x.jpg", jpeg(1))}), 422)
    assert_problem(await post(path, files=[("image", ("a", jpeg(1))), ("image", ("b", jpeg(2)))]), 422)


BROKEN_FORMS = {
    "nothing": b"",
    "no form": b"garbage",
    "a part without a name": b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--\r\n",
    "a part without headers": b"--x\r\n\r\nabc\r\n--x--\r\n",
    "a part that does not end": b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc',
    "a strange file name": b"--x\r\nContent-Disposition: form-data; name=image; filename*=zz''%f\r\n\r\n\r\n--x--\r\n",
}
KINDS = ["multipart/form-data; boundary=x", "multipart/form-data", "multipart/form-data; boundary=x; charset=none"]


# Of a form that ends too early the framework leaves the temporary file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BROKEN_FORMS)
@pytest.mark.parametrize("path", ["/search", "/images"])
async def test_a_broken_form_is_refused(serving, path, name, kind):
    gc.freeze()  # only what this test leaves is looked through below
    answer = await form(serving, path, BROKEN_FORMS[name], kind)
    assert_problem(answer, 422)
    gc.collect()
    gc.unfreeze()


@pytest.mark.parametrize("path", ["/search", "/images"])
async def test_a_file_that_is_no_picture_is_unsupported(serving, path):
    for data in (b"text" * 50, b"%PDF-1.7\n", b"8BPS" + bytes(50)):
        assert_problem(await serving.client.post(path, files={"image": ("x.jpg", data, "image/jpeg")}), 415)


async def test_an_upload_is_a_pending_row_an_object_and_an_event(serving):
    answer = await serving.upload(jpeg(1), source="shop")
    assert answer.status_code == 202
    body = answer.json()
    assert set(body) == {"id", "uri", "status"}
    assert body["status"] == "pending"
    assert answer.headers["location"] == f"/images/{body['id']}"
    row = serving.image_repository.images[body["id"]]
    assert (row.uri, row.source, row.owner, row.visibility) == (body["uri"], "shop", "", "public")
    assert serving.object_store.objects[serving.object_store.key(row.uri)] == jpeg(1)
    [entry] = serving.events.entries.values()
    assert (entry.event.kind, entry.event.uri, entry.event.image_id) == (EventKind.CREATED, row.uri, row.id)


async def test_an_image_is_described(serving):
    image = await serving.index(jpeg(1))
    facts = (await serving.client.get(f"/images/{image}")).json()
    assert set(facts) == {"id", "uri", "width", "height", "created_at", "status", "reason"}
    assert (facts["id"], facts["width"], facts["height"], facts["status"]) == (image, 320, 240, "indexed")


async def test_content_is_the_file_and_size_gives_a_thumbnail(serving):
    image = await serving.index(jpeg(1))
    whole = await serving.client.get(f"/images/{image}/content")
    assert whole.headers["cache-control"].startswith("private"), "no proxy may give it to somebody else"
    assert (whole.content, whole.headers["content-type"]) == (jpeg(1), "image/jpeg")
    assert whole.headers["x-content-type-options"] == "nosniff"
    small = await serving.client.get(f"/images/{image}/content", params={"size": 64})
    with Image.open(BytesIO(small.content)) as picture:
        assert max(picture.size) == 64


async def test_content_that_the_client_has_already_is_not_sent_again(serving):
    image = (await serving.upload(jpeg(1))).json()["id"]
    path, tags = f"/images/{image}/content", set()
    for params in ({}, {"size": 64}, {"size": 65}):
        tag = (await serving.client.get(path, params=params)).headers["etag"]
        tags.add(tag)
        for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            for method in ("GET", "HEAD"):
                again = await serving.client.request(method, path, params=params, headers={"If-None-Match": known})
                assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
                assert again.headers["cache-control"].startswith("private")
        for other in ('"other"', tag.replace('"', ""), ""):
            answer = await serving.client.get(path, params=params, headers={"If-None-Match": other})
            assert answer.status_code == 200
    assert len(tags) == 3
    await serving.image_repository.describe([ImageMetadata(image, 320, 240, 0, content_hash=bytes(32))])
    answer = await serving.client.get(path, headers={"If-None-Match": ", ".join(tags)})
    assert answer.status_code == 200
    assert answer.headers["etag"] not in tags


async def test_head_tells_of_content_what_get_does(serving):
    image = (await serving.upload(jpeg(1))).json()["id"]
    for params in ({}, {"size": 64}):
        whole = await serving.client.get(f"/images/{image}/content", params=params)
        head = await serving.client.head(f"/images/{image}/content", params=params)
        assert (head.status_code, head.content) == (200, b"")
        assert set(head.headers.items()) - {request_of(head)} == set(whole.headers.items()) - {request_of(whole)}


def request_of(answer):
    return "x-request-id", answer.headers["x-request-id"]


@pytest.mark.parametrize("size", ["15", "2049", "0", "-1", "many"])
async def test_a_thumbnail_of_a_strange_size_is_refused(serving, size):
    image = await serving.index(jpeg(1))
    assert_problem(await serving.client.get(f"/images/{image}/content", params={"size": size}), 422)


async def test_content_whose_file_is_missing_is_not_found(serving):
    image = await serving.index(jpeg(1))
    serving.object_store.objects.clear()
    assert_problem(await serving.client.get(f"/images/{image}/content"), 404)


async def test_a_deletion_does_not_ask_for_the_collection_of_a_retired_release(serving):
    await serving.release_repository.add(replace(RELEASE, name="v0", collection="images_v0"), ReleaseState.RETIRED)
    image = await serving.index(jpeg(1))
    assert (await serving.client.delete(f"/images/{image}")).status_code == 204


async def test_a_deleted_image_is_removed_from_every_store(serving):
    image, other = await serving.index(jpeg(1)), await serving.index(jpeg(2))
    assert (await serving.client.delete(f"/images/{image}")).status_code == 204
    for path in ("", "/content", "/similar"):
        assert_problem(await serving.client.get(f"/images/{image}{path}"), 404)
    assert_problem(await serving.client.delete(f"/images/{image}"), 404)
    assert set(serving.vectors.rows[RELEASE.collection]) == {other}
    assert list(serving.object_store.objects) == ["uploads/1.jpg"]
    assert serving.image_repository.deletions[image][1]


@pytest.mark.parametrize("image", ["999", "0", "-1", str(2**63), "9" * 30, "9" * 5000, "abc", "1.5", "%00", "true"])
async def test_a_malformed_id_is_not_found(serving, image):
    for path in ("", "/similar", "/content"):
        assert_problem(await serving.client.get(f"/images/{image}{path}"), 404)
    assert_problem(await serving.client.delete(f"/images/{image}"), 404)


async def test_similar_to_a_pending_image_is_not_found(serving):
    image = (await serving.upload(jpeg(1))).json()["id"]
    assert_problem(await serving.client.get(f"/images/{image}/similar"), 404)


async def test_impressions_and_the_query_are_written_after_the_answer(serving):
    for seed in range(3):
        await serving.index(jpeg(seed))
    answer = (await serving.search(jpeg(1), user_id="7", bbox="0,0,300,200")).json()
    await serving.gateway.drain()
    query = answer["query_image_id"]
    (told,) = serving.interaction_queue.interactions
    assert list(enumerate(told.shown, 1)) == [(hit["rank"], hit["id"]) for hit in answer["results"]]
    assert (told.query_image_id, told.user) == (query, hashed_user(KEY, 7))
    assert (told.release, told.picture, told.box) == (RELEASE.name, True, "0,0,300,200")
    kept = part_named(told.blob_key)
    assert kept.of(serving.object_store.objects[kept.key]) == jpeg(1)


async def test_query_pictures_are_not_stored_when_that_is_disabled():
    async with Serving(store_queries=False) as serving:
        await serving.search(jpeg(1))
        await serving.gateway.drain()
        assert not serving.object_store.objects
        assert [(told.picture, told.blob_key) for told in serving.interaction_queue.interactions] == [(True, "")]


async def clicked(serving, **changes):
    shown = await serving.index(jpeg(1))
    query = (await serving.search(jpeg(1))).json()["query_image_id"]
    body = {"user_id": 7, "query_image_id": query, "displayed_image_id": shown, "rank": 1} | changes
    return await serving.client.post("/click", json=body)


async def test_a_click_is_recorded(serving):
    answer = await clicked(serving)
    assert (answer.status_code, answer.content) == (204, b"")
    search, click = serving.interaction_queue.interactions
    assert (click.query_image_id, click.user, click.checked) == (search.query_image_id, hashed_user(KEY, 7), True)


@pytest.mark.parametrize("name", ["query_image_id", "displayed_image_id"])
@pytest.mark.parametrize("value", [2**62, 0, -5])
async def test_a_click_on_an_unknown_search_or_image_is_not_found(serving, name, value):
    assert_problem(await clicked(serving, **{name: value}), 404)


@pytest.mark.parametrize("name", ["user_id", "query_image_id", "displayed_image_id", "rank"])
@pytest.mark.parametrize("value", [2**63, "1", 1.0, True, None, [], 10**400])
async def test_a_click_with_a_malformed_id_is_refused(serving, name, value):
    assert_problem(await clicked(serving, **{name: value}), 422)


@pytest.mark.parametrize("rank", [0, -1, 2**31])
async def test_a_click_with_an_impossible_rank_is_refused(serving, rank):
    assert_problem(await clicked(serving, rank=rank), 422)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", b'"\\ud800"', b'{"rank": NaN}']
)
async def test_a_click_that_is_no_json_object_is_refused(serving, body):
    assert_problem(await form(serving, "/click", body, "application/json"), 422)


async def test_unknown_routes_and_methods_are_problem_documents(serving):
    assert_problem(await serving.client.get("/nowhere"), 404)
    assert_problem(await serving.client.get("/static/nowhere.js"), 404)
    assert_problem(await serving.client.get("/static/%00"), 404)
    refused = await serving.client.get("/search")
    assert_problem(refused, 405)
    assert refused.headers["allow"] == "POST"


async def test_the_page_is_served(serving):
    assert (await serving.client.get("/")).headers["content-type"].startswith("text/html")


async def test_health_ready_stats_and_metrics_respond(serving):
    await serving.index(jpeg(1))
    await serving.upload(jpeg(2))
    assert (await serving.client.get("/health")).json() == {"ok": True}
    assert (await serving.client.get("/ready")).status_code == 200
    stats = (await serving.client.get("/stats")).json()
    assert stats["images"] == {"pending": 1, "indexed": 1, "rejected": 0, "total": 2}
    assert {"lag": 1, "pending": 0, "dead_letters": 0}.items() <= stats["stream"].items()
    assert stats["collections"] == {RELEASE.collection: 1}
    assert stats["live_release"]["name"] == RELEASE.name
    assert stats["errors"] == []
    await serving.search(jpeg(1))
    metrics = (await serving.client.get("/metrics")).text
    assert 'visualsearch_requests_total{method="POST",route="/search",status="200"}' in metrics
    assert 'visualsearch_search_stage_seconds_count{release="v1",stage="ann",variant=""}' in metrics


@pytest.mark.parametrize(
    ("hangs", "why"),
    [(False, "Milvus does not answer: collection not loaded. Try again shortly."), (True, "no answer within 0.1 s")],
)
async def test_a_collection_that_cannot_be_counted_hides_no_other_and_says_why(serving, hangs, why, monkeypatch):
    monkeypatch.setattr(statistics, "COUNT_S", 0.1)
    serving.vectors.rows["images_coming"] = {}
    count = serving.vectors.count

    async def counted(collection):
        if collection == "images_coming" and hangs:
            await asyncio.sleep(60)
        if collection == "images_coming":
            raise Unavailable("Milvus", "collection not loaded")
        return await count(collection)

    serving.vectors.count = counted
    stats = (await serving.client.get("/stats")).json()
    assert stats["collections"] == {RELEASE.collection: 0, "images_coming": None}
    assert stats["errors"] == [f"images_coming: {why}"]
    metrics = (await serving.client.get("/metrics")).text
    assert f'index_rows{{collection="{RELEASE.collection}"}} 0' in metrics
    assert "images_coming" not in metrics


async def test_ids_do_not_become_labels_of_metrics(serving):
    await serving.client.get("/images/123456789")
    metrics = (await serving.client.get("/metrics")).text
    assert 'route="/images/{image_id}"' in metrics
    assert "123456789" not in metrics


async def test_a_picture_is_searched_upright(serving):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    noise(1, 320, 240).save(file, "JPEG", exif=exif)
    assert (await serving.search(file.getvalue(), bbox="0,0,240,320")).status_code == 200
    assert_problem(await serving.search(file.getvalue(), bbox="0,0,320,240"), 422)


async def test_the_page_of_the_interface_loads_nothing_from_elsewhere(serving):
    page = (await serving.client.get("/docs")).text
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) == 4
    for link in links:
        assert link.startswith("/static/")
        assert (await serving.client.get(link)).status_code == 200
