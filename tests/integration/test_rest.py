"""The REST contract, against the running gateway on real servers."""

import zlib
from io import BytesIO
from pathlib import Path

import psycopg
import pytest
from PIL import Image

from tests.eventually import eventually_sync
from tests.pictures import encoded, jpeg, noise
from visualsearch.domain.interactions import hashed_user

pytestmark = pytest.mark.stack


def upload(api, data, **fields):
    return api.post("/images", files={"image": ("picture.jpg", data)}, data=fields)


def search(api, data, **fields):
    return api.post("/search", files={"image": ("picture.jpg", data)}, data=fields)


def wait_until_settled(api, image_id, seconds=30):
    def finished():
        described = api.get(f"/images/{image_id}").json()
        assert described["status"] != "pending", f"image {image_id} is still pending"
        return described

    return eventually_sync(finished, seconds, errors=AssertionError)


def indexed(api, data, **fields):
    image_id = upload(api, data, **fields).json()["id"]
    assert wait_until_settled(api, image_id)["status"] == "indexed"
    return image_id


def assert_problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    assert len(response.json()["detail"]) > 20


def test_an_upload_is_accepted_then_indexed_then_found_first(api):
    data = jpeg(1)
    accepted = upload(api, data, source="tests")
    assert accepted.status_code == 202
    body = accepted.json()
    assert body["status"] == "pending"
    assert accepted.headers["location"].endswith(f"/images/{body['id']}")
    facts = wait_until_settled(api, body["id"])
    assert (facts["status"], facts["width"], facts["height"], facts["reason"]) == ("indexed", 320, 240, None)
    assert facts["uri"] == body["uri"]
    answer = search(api, data, k=5).json()
    best = answer["results"][0]
    assert (best["id"], best["rank"], best["uri"]) == (body["id"], 1, body["uri"])
    assert best["score"] == pytest.approx(1, abs=1e-3)
    assert set(answer["timings_ms"]) == {"decode", "embed", "ann", "rank"}
    assert answer["latency_ms"] >= sum(answer["timings_ms"].values()) * 0.9
    assert answer["release"]


def test_results_are_ordered_by_score_and_ranked_from_one(api):
    for seed in range(10, 15):
        indexed(api, jpeg(seed))
    results = search(api, jpeg(10), k=5).json()["results"]
    scores = [hit["score"] for hit in results]
    assert scores == sorted(scores, reverse=True)
    assert [hit["rank"] for hit in results] == [1, 2, 3, 4, 5]
    assert all(-1 <= score <= 1.000001 for score in scores)


def test_the_same_query_gives_the_same_order_again(api):
    first = search(api, jpeg(10), k=20).json()["results"]
    second = search(api, jpeg(10), k=20).json()["results"]
    assert first == second


def test_near_duplicates_fold_into_their_best_member_unless_kept(api):
    original = indexed(api, jpeg(20))
    copy = indexed(api, encoded(noise(20).resize((160, 120)), "PNG"))
    folded = search(api, jpeg(20), k=10).json()["results"]
    assert folded[0]["id"] == original
    assert copy in folded[0]["near_duplicates"]
    assert copy not in [hit["id"] for hit in folded]
    kept = search(api, jpeg(20), k=10, near_duplicates="keep").json()["results"]
    assert {original, copy} <= {hit["id"] for hit in kept}
    assert all(hit["near_duplicates"] == [] for hit in kept)


def test_k_results_come_back_though_most_candidates_fold(api):
    for quality in range(30, 60):
        upload(api, encoded(noise(30), quality=quality))
    last = indexed(api, jpeg(31))
    counts = api.get("/stats").json()["images"]
    assert counts["indexed"] > 30
    results = search(api, jpeg(30), k=5).json()["results"]
    assert len(results) == 5
    assert last not in results[0]["near_duplicates"]


def test_a_box_searches_with_what_is_inside_it(api):
    wanted, other = noise(40), noise(41)
    image_id = indexed(api, encoded(wanted))
    pair = Image.new("RGB", (640, 240))
    pair.paste(other, (0, 0))
    pair.paste(wanted, (320, 0))
    assert search(api, encoded(pair), bbox="320,0,640,240", k=1).json()["results"][0]["id"] == image_id


def test_a_box_is_in_pixels_of_the_upright_picture(api):
    wanted = noise(42)
    image_id = indexed(api, encoded(wanted))
    pair = Image.new("RGB", (640, 240))
    pair.paste(wanted, (320, 0))
    turned = pair.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the viewer must turn the picture clockwise
    answer = search(api, encoded(turned, exif=exif, quality=95), bbox="320,0,640,240", k=1)
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"][0]["id"] == image_id


def test_similar_excludes_the_picture_itself(api):
    image_id = indexed(api, jpeg(50))
    answer = api.get(f"/images/{image_id}/similar", params={"k": 3}).json()
    assert answer["query_image_id"] == image_id
    assert len(answer["results"]) == 3
    assert image_id not in [hit["id"] for hit in answer["results"]]


def test_content_is_the_file_and_size_gives_a_thumbnail(api):
    data = jpeg(51)
    image_id = indexed(api, data)
    whole = api.get(f"/images/{image_id}/content")
    assert (whole.content, whole.headers["content-type"]) == (data, "image/jpeg")
    head = api.head(f"/images/{image_id}/content")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))
    known = api.get(f"/images/{image_id}/content", headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    with Image.open(BytesIO(api.get(f"/images/{image_id}/content", params={"size": 64}).content)) as small:
        assert max(small.size) == 64


def test_a_deleted_image_is_removed_from_every_store(api, stack):
    data = jpeg(52)
    image_id = indexed(api, data)
    assert api.delete(f"/images/{image_id}").status_code == 204
    assert_problem(api.get(f"/images/{image_id}"), 404)
    assert_problem(api.get(f"/images/{image_id}/content"), 404)
    assert_problem(api.delete(f"/images/{image_id}"), 404)
    hits = search(api, data, k=200, near_duplicates="keep").json()["results"]
    assert image_id not in [hit["id"] for hit in hits]
    with psycopg.connect(stack.postgres_dsn, password=stack.postgres_password.get_secret_value()) as connection:
        assert connection.execute("SELECT 1 FROM images WHERE id = %s", [image_id]).fetchone() is None


def test_a_private_image_is_not_shown_to_strangers(api):
    data = jpeg(53)
    image_id = indexed(api, data, visibility="private")
    hits = search(api, data, k=200, near_duplicates="keep").json()["results"]
    assert image_id not in [hit["id"] for hit in hits]


def test_impressions_and_clicks_are_written(api, stack):
    image_id = indexed(api, jpeg(54))
    answer = search(api, jpeg(54), k=3, user_id=77).json()
    click = {"user_id": 77, "query_image_id": answer["query_image_id"], "displayed_image_id": image_id, "rank": 1}
    assert api.post("/click", json=click).status_code == 204
    wanted = {("impression", hit["id"], hit["rank"]) for hit in answer["results"]} | {("click", image_id, 1)}
    query = "SELECT type, displayed_image_id, rank FROM interactions WHERE user_id = %s AND query_image_id = %s"
    user = hashed_user(stack.user_id_key.get_secret_value(), 77)
    with psycopg.connect(stack.postgres_dsn, password=stack.postgres_password.get_secret_value()) as connection:
        connection.autocommit = True

        def written():
            assert set(connection.execute(query, [user, answer["query_image_id"]])) == wanted
            return True

        eventually_sync(written, within_s=10, errors=AssertionError)


def bomb() -> bytes:
    """A PNG whose header promises 20000 x 20000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = (20000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def animated(kind: str) -> bytes:
    frames = [noise(seed, 64, 64) for seed in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


BAD_PICTURES = {
    "text": (b"this is no picture at all" * 10, 415),
    "icon": (encoded(noise(1, 64, 64), "ICO"), 415),
    "jpeg 2000": (encoded(noise(1, 64, 64), "JPEG2000"), 415),
    "pdf": (b"%PDF-1.7\n" + bytes(100), 415),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
    "truncated jpeg": (jpeg(1)[:3000], 422),
    "truncated png": (encoded(noise(1), "PNG")[:3000], 422),
    "one pixel": (encoded(Image.new("RGB", (1, 1)), "PNG"), 422),
    "fifteen pixels": (encoded(Image.new("RGB", (15, 200)), "PNG"), 422),
    "bomb": (bomb(), 413),
    "too many bytes": (jpeg(1) + bytes(21 * 1024 * 1024), 413),
    "far too many bytes": (bytes(60 * 1024 * 1024), 413),
}


@pytest.mark.parametrize("kind", BAD_PICTURES)
@pytest.mark.parametrize("path", ["/search", "/images"])
def test_a_bad_picture_is_refused_with_a_sentence(api, path, kind):
    data, status = BAD_PICTURES[kind]
    assert_problem(api.post(path, files={"image": ("x.jpg", data, "image/jpeg")}), status)


@pytest.mark.parametrize("path", ["/search", "/images"])
def test_an_empty_upload_is_refused(api, path):
    assert_problem(api.post(path, files={"image": ("x.jpg", b"", "image/jpeg")}), 422)


def unusual() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = noise(60)
    return {
        "cmyk": encoded(wide.convert("CMYK")),
        "16 bit": encoded(Image.new("I;16", (64, 64), 40000), "PNG"),
        "alpha": encoded(wide.convert("RGBA"), "PNG"),
        "palette": encoded(wide.convert("P"), "PNG"),
        "grey": encoded(wide.convert("L")),
        "grey with alpha": encoded(wide.convert("LA"), "PNG"),
        "turned": encoded(wide, exif=exif),
        "webp": encoded(wide, "WEBP"),
        "one bit": encoded(wide.convert("1"), "PNG"),
        "jpeg without its end": encoded(wide)[:-2],
        "heic": (Path(__file__).parents[1] / "data" / "heic" / "picture.heic").read_bytes(),
        **{kind.lower(): encoded(wide, kind) for kind in ("GIF", "AVIF", "BMP", "TIFF")},
        **{f"animated {kind.lower()}": animated(kind) for kind in ("WEBP", "PNG", "GIF")},
    }


@pytest.mark.parametrize("kind", unusual())
def test_unusual_pictures_work(api, kind):
    assert search(api, unusual()[kind], k=1).status_code == 200


@pytest.mark.parametrize(("kind", "shown"), [("heic", "image/heic"), ("tiff", "image/tiff"), ("gif", "image/gif")])
def test_a_picture_is_served_as_what_it_is_and_its_thumbnail_as_a_jpeg(api, kind, shown):
    image_id = indexed(api, unusual()[kind])
    assert api.get(f"/images/{image_id}/content").headers["content-type"] == shown
    assert api.get(f"/images/{image_id}/content?size=64").headers["content-type"] == "image/jpeg"


def test_a_turned_picture_has_the_size_of_the_upright_one(api):
    image_id = indexed(api, unusual()["turned"])
    facts = api.get(f"/images/{image_id}").json()
    assert (facts["width"], facts["height"]) == (240, 320)


BAD_BOXES = [
    "1,2,3",
    "1,2,3,4,5",
    "a,b,c,d",
    "10,10,10,50",
    "50,50,10,10",
    "-1,0,50,50",
    "0,0,321,240",
    "0,0,1e9,1",
    "1.5,0,50,50",
    "nan,0,1,1",
    "0,0,99999999999999999999,1",
    "400,400,500,500",
    ",,,",
    " ",
]


@pytest.mark.parametrize("bbox", BAD_BOXES)
def test_a_bad_box_is_refused(api, bbox):
    assert_problem(search(api, jpeg(1), bbox=bbox), 422)


@pytest.mark.parametrize("k", ["0", "-1", "201", "1000000000", "99999999999999999999", "abc", "1.5"])
def test_a_bad_k_is_refused(api, k):
    assert_problem(search(api, jpeg(1), k=k), 422)


@pytest.mark.parametrize(
    "fields",
    [{"near_duplicates": "maybe"}, {"user_id": "somebody"}, {"user_id": "99999999999999999999"}],
)
def test_other_bad_fields_of_a_search_are_refused(api, fields):
    assert_problem(search(api, jpeg(1), **fields), 422)


@pytest.mark.parametrize("fields", [{"visibility": "secret"}, {"source": "a\x00b"}, {"source": "x" * 5000}])
def test_bad_fields_of_an_upload_are_refused(api, fields):
    assert_problem(upload(api, jpeg(1), **fields), 422)


@pytest.mark.parametrize("path", ["/search", "/images"])
def test_a_missing_picture_is_refused(api, path):
    assert_problem(api.post(path, data={"k": "5"}), 422)
    assert_problem(api.post(path, files={"picture": ("x.jpg", jpeg(1))}), 422)
    assert_problem(api.post(path, data={"image": "text where a file belongs"}), 422)
    assert_problem(api.post(path, json={"image": "x"}), 422)


@pytest.mark.parametrize("image_id", ["999999999", "99999999999999999999999", "0", "-1"])
def test_an_unknown_id_is_not_found(api, image_id):
    for path in ("", "/similar", "/content"):
        assert_problem(api.get(f"/images/{image_id}{path}"), 404)
    assert_problem(api.delete(f"/images/{image_id}"), 404)


def test_a_click_on_an_unknown_search_or_image_is_not_found(api):
    known = indexed(api, jpeg(55))
    for query, shown in [(2**62, known), (known, 2**62)]:
        click = {"user_id": 1, "query_image_id": query, "displayed_image_id": shown, "rank": 1}
        assert_problem(api.post("/click", json=click), 404)


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{", '{"user_id": 1}', '{"user_id": 1, "query_image_id": "x", "displayed_image_id": 1, "rank": 1}',
     '{"user_id": 1, "query_image_id": 1, "displayed_image_id": 1, "rank": 0}',
     '{"user_id": 99999999999999999999, "query_image_id": 1, "displayed_image_id": 1, "rank": 1}'],
)  # fmt: skip
def test_a_malformed_click_is_refused(api, body):
    assert_problem(api.post("/click", content=body, headers={"content-type": "application/json"}), 422)


def test_every_error_is_a_problem_document(api):
    assert_problem(api.get("/nowhere"), 404)
    assert_problem(api.get("/search"), 405)
    assert_problem(api.post("/health"), 405)


def test_health_ready_stats_and_metrics_respond(api):
    assert api.get("/health").json() == {"ok": True}
    assert api.get("/ready").status_code == 200
    stats = api.get("/stats").json()
    assert {"pending", "indexed", "rejected"} <= set(stats["images"])
    assert {"lag", "pending", "dead_letters"} <= set(stats["stream"])
    assert stats["collections"][stats["live_release"]["collection"]] > 0
    metrics = api.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "visualsearch_" in metrics.text
