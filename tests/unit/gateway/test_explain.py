"""Explanations of results, on fakes."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from gateway.explanation.similarity_heatmap import agreement
from tests.pictures import encoded, jpeg, noise
from tests.unit.gateway.test_duplicate_exclusions import API_KEYS, KEYS
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.images import Visibility


def maps(hot_one, hot_other):
    """Feature maps of two pictures that have nothing in common but what lies in one cell of each."""
    made = np.random.default_rng(0).normal(0, 0.1, (2, 64, 7, 7)).astype(np.float32)
    made[0, :, *hot_one] = made[1, :, *hot_other] = np.linspace(-1, 1, 64)
    return made


def test_the_cell_that_both_pictures_share_is_the_hottest():
    one, other = agreement(maps((1, 5), (6, 0)), np.zeros((64, 7, 7), np.float32))
    assert np.unravel_index(one.argmax(), one.shape) == (1, 5)
    assert np.unravel_index(other.argmax(), other.shape) == (6, 0)
    for heat in (one, other):
        assert (heat.shape, heat.dtype) == ((7, 7), np.float32)
        assert heat.min() == np.median(heat) == 0
        assert heat.sum() < 2
    assert max(one.max(), other.max()) == 1


def test_pictures_that_are_blank_have_no_heat():
    one, other = agreement(np.ones((2, 8, 3, 4), np.float32), np.ones((8, 3, 4), np.float32))
    assert not one.any()
    assert not other.any()


async def ask(serving, query, image, headers=None, **more):
    params = {"query_image_id": query, "image_id": image, **more}
    return await serving.client.get("/explain", params=params, headers=headers)


async def searched(serving, headers=None, **fields):
    """Search with a picture; return the query's id, once everything about it is written down."""
    files = {"image": ("x.jpg", jpeg(1))}
    answer = (await serving.client.post("/search", files=files, data=fields, headers=headers)).json()
    await serving.gateway.drain()
    await serving.interaction_repository.write(
        [entry.interaction for entry in await serving.interaction_queue.read("tests", 100, 0, 0)]
    )
    return answer["query_image_id"]


async def test_two_pictures_of_the_corpus_are_explained_in_numbers_and_as_a_picture():
    async with Serving() as serving:
        one, other = await serving.index(jpeg(1)), await serving.index(encoded(noise(2).resize((640, 200)), "PNG"))
        told = (await ask(serving, one, other)).json()
        assert (told["query_image_id"], told["image_id"], told["release"]) == (one, other, "v1")
        assert (told["query"]["width"], told["query"]["height"], told["query"]["box"]) == (320, 240, [0, 0, 320, 240])
        assert told["image"]["box"] == [0, 0, 640, 200]
        cells = np.array([told["query"]["heat"], told["image"]["heat"]])
        assert (cells.min(), cells.max()) == (0, 1)
        for picture in (
            await ask(serving, one, other, format="png"),
            await ask(serving, one, other, {"Accept": "image/png"}),
        ):
            assert picture.headers["content-type"] == "image/png"
            with Image.open(BytesIO(picture.content)) as drawn:
                assert drawn.width > 700
        assert (await ask(serving, one, other, {"Accept": "image/png"}, format="json")).json() == told


async def test_a_past_search_is_explained_by_its_picture_and_its_box():
    async with Serving() as serving:
        image = await serving.index(jpeg(1))
        query = await searched(serving, bbox="10,20,200,220")
        told = (await ask(serving, query, image)).json()
        assert told["query"]["box"] == [10, 20, 200, 220]
        assert (told["query"]["width"], told["query"]["height"]) == (320, 240)
        assert (await ask(serving, query, image, format="png")).status_code == 200


@pytest.mark.usefixtures("impatient")
async def test_a_query_and_a_private_picture_of_another_user_are_not_found():
    async with Serving(api_keys=API_KEYS) as serving:
        image = await serving.index(jpeg(1))
        hidden = await serving.index(jpeg(2), owner="ada", visibility=Visibility.PRIVATE)
        query = await searched(serving, KEYS["ada"])
        assert (await ask(serving, query, image, KEYS["ada"])).status_code == 200
        assert (await ask(serving, query, hidden, KEYS["ada"])).status_code == 200
        for pair in ((query, image), (image, hidden), (hidden, image)):
            assert_problem(await ask(serving, *pair, KEYS["bob"]), 404)
        assert_problem(await ask(serving, query, image), 401)


async def test_an_unknown_query_or_image_is_not_found():
    async with Serving() as serving:
        image = await serving.index(jpeg(1))
        for pair in ((image, 10**6), (10**6, image), (image, -1)):
            assert_problem(await ask(serving, *pair), 404)


async def test_a_search_whose_picture_is_not_stored_cannot_be_explained(monkeypatch):
    monkeypatch.setattr("gateway.explanation.explainer.POLL_S", 0.5)
    async with Serving(store_queries=False) as serving:
        image = await serving.index(jpeg(1))
        assert_problem(await ask(serving, await searched(serving), image), 404)


async def test_an_encoder_without_a_feature_map_is_refused_with_a_reason():
    async with Serving() as serving:
        one, other = await serving.index(jpeg(1)), await serving.index(jpeg(2))
        serving.encoder.maps = False
        assert_problem(await ask(serving, one, other), 501)


@pytest.mark.parametrize("params", [{}, {"query_image_id": 1}, {"query_image_id": "x", "image_id": 1}])
async def test_malformed_parameters_are_refused(params):
    async with Serving() as serving:
        assert_problem(await serving.client.get("/explain", params=params), 422)
