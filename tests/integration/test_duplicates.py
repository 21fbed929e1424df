"""Duplicates of the whole corpus, by the command, on the running stack."""

import orjson
import psycopg
import pytest
from PIL import ImageOps

from evaluation.offline.shirts import shirt
from tests.eventually import eventually_sync
from tests.integration.test_rest import indexed, search
from tests.pictures import encoded, noise

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def pictures(api):
    """Ids of a picture, an exact copy, a smaller copy, a red shirt, its mirror image and a blue shirt."""
    files = [
        encoded(noise(740, 640, 480), "PNG"),
        encoded(noise(740, 640, 480), "PNG"),
        encoded(noise(740), quality=80),
    ]
    files += map(encoded, (shirt("red"), ImageOps.mirror(shirt("red")), shirt("blue")))
    return [indexed(api, data) for data in files]


def duplicates(running, *words):
    done = running.command("duplicates", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def groups(running, kind, pictures):
    report = orjson.loads(duplicates(running, "--json"))
    found = ([one["id"] for one in (group["keep"], *group["others"])] for group in report[kind])
    return [sorted(ids) for ids in found if set(ids) & set(pictures)]


def test_copies_and_near_duplicates_are_found_and_other_colours_are_not(running, pictures):
    original, copy, smaller, red, mirrored, _ = pictures
    assert groups(running, "copies", pictures) == [[original, copy]]
    assert sorted(groups(running, "near_duplicates", pictures)) == [[original, smaller], [red, mirrored]]


def test_a_search_for_a_shirt_lists_the_other_colour_apart(api, pictures):
    *_, red, mirrored, blue = pictures
    hits = {hit["id"]: hit["near_duplicates"] for hit in search(api, encoded(shirt("red")), k=20).json()["results"]}
    assert hits[red] == [mirrored]
    assert hits[blue] == []


def test_a_marked_pair_is_no_longer_a_group(running, api, pictures):
    *_, red, mirrored, _ = pictures
    assert api.post("/not-duplicates", json={"image_ids": [red, mirrored]}).status_code == 204
    assert [red, mirrored] not in groups(running, "near_duplicates", pictures)
    assert api.request("DELETE", "/not-duplicates", json={"image_ids": [red, mirrored]}).status_code == 204


def test_the_table_and_the_page_show_the_groups(running, pictures, tmp_path):
    page = tmp_path / "duplicates.html"
    printed = duplicates(running, "--html", str(page), "--limit", "1000")
    assert f" {pictures[0]} " in printed
    assert "Exact copies: " in printed
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") >= 5
    for image_id in pictures[:5]:
        assert f">{image_id}</b>" in text


def test_indexers_add_the_colours_of_images_that_have_none(stack, pictures):
    password = stack.postgres_password.get_secret_value()
    with psycopg.connect(stack.postgres_dsn, password=password, autocommit=True) as server:
        read = "SELECT colours FROM image_hash WHERE image_id = %s"
        before = server.execute(read, [pictures[3]]).fetchone()
        server.execute("UPDATE image_hash SET colours = NULL WHERE image_id = %s", [pictures[3]])
        eventually_sync(lambda: server.execute(read, [pictures[3]]).fetchone() == before)
    assert len(before[0]) == 49
