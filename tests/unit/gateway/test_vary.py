"""A cache keeps apart what callers with different keys may see."""

import pytest

from tests.pictures import jpeg
from tests.unit.serving import Serving


@pytest.fixture
async def serving():
    async with Serving() as serving:
        yield serving


def varies(answer):
    return {name.strip().lower() for name in answer.headers.get("vary", "").split(",")}


@pytest.mark.parametrize("query", ["", "?size=64"])
async def test_a_picture_depends_on_the_key(serving, query):
    address = f"/images/{await serving.index(jpeg(1))}/content{query}"
    answer = await serving.client.get(address)
    known = await serving.client.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert (answer.status_code, known.status_code) == (200, 304)
    for one in (answer, known, await serving.client.head(address)):
        assert varies(one) >= {"authorization", "x-api-key"}


@pytest.mark.parametrize("kind", ["png", "json"])
async def test_an_explanation_depends_on_the_key_and_the_wanted_format(serving, kind):
    one, other = await serving.index(jpeg(1)), await serving.index(jpeg(2))
    answer = await serving.client.get(f"/explain?query_image_id={one}&image_id={other}&format={kind}")
    assert kind in answer.headers["content-type"]
    assert varies(answer) == {"accept", "authorization", "x-api-key"}
