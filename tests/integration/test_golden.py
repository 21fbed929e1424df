"""Edited pictures of the demo corpus find their originals: the whole system, index included."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from PIL import Image, ImageEnhance

from tests.pictures import encoded

pytestmark = pytest.mark.stack

PICTURES = Path(__file__).parents[2] / "demo" / "pictures"
SAMPLE = 100
WANTED = 97


def opened(file: Path) -> Image.Image:
    """The picture on white, so that every edit can be a JPEG."""
    with Image.open(file) as picture:
        layered = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def cropped(picture: Image.Image, chance: random.Random) -> bytes:
    """60% of the area, anywhere."""
    share = 0.6**0.5
    width, height = round(picture.width * share), round(picture.height * share)
    left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
    return encoded(picture.crop((left, top, left + width, top + height)), quality=95)


EDITS = {
    "cropped to 60%": cropped,
    "shrunk": lambda picture, _: encoded(picture.resize((picture.width // 2, picture.height // 2)), quality=95),
    "re-compressed": lambda picture, _: encoded(picture, quality=30),
    "brightened": lambda picture, _: encoded(ImageEnhance.Brightness(picture).enhance(1.3), quality=95),
}


@pytest.fixture(scope="module")
def corpus(demo_stack) -> dict[str, int]:
    """Ids of the demo pictures by path below demo/pictures, without those that have a near-duplicate there."""
    with psycopg.connect(
        demo_stack.postgres_dsn, password=demo_stack.postgres_password.get_secret_value()
    ) as connection:
        rows = connection.execute(
            """SELECT split_part(uri, '/pictures/', 2), id FROM images JOIN image_hash ON image_id = id
               WHERE source = 'pictures' AND status = 'indexed' AND phash IN
                 (SELECT phash FROM image_hash GROUP BY phash HAVING count(*) = 1) ORDER BY uri"""
        ).fetchall()
    return dict(rows)


def test_the_whole_demo_corpus_is_indexed(corpus):
    assert len(corpus) >= 750


@pytest.mark.parametrize("edit", EDITS)
def test_edited_pictures_find_their_original_first(demo_stack, corpus, edit):
    chance = random.Random(7)
    sample = chance.sample(sorted(corpus), SAMPLE)
    queries = [EDITS[edit](opened(PICTURES / name), chance) for name in sample]
    with httpx.Client(base_url=demo_stack.url, timeout=30) as client, ThreadPoolExecutor(4) as pool:

        def best(query: bytes) -> int:
            form = {"k": "1", "near_duplicates": "keep"}
            return client.post("/search", files={"image": ("query.jpg", query)}, data=form).json()["results"][0]["id"]

        found = list(pool.map(best, queries))
    missed = [name for name, image_id in zip(sample, found, strict=True) if image_id != corpus[name]]
    assert len(missed) <= SAMPLE - WANTED, missed
