"""Searches among pictures of one pattern in several colours, on fakes."""

import asyncio
from dataclasses import replace

import pytest
from PIL import ImageOps

from evaluation.offline.shirts import shirt
from tests.pictures import encoded
from tests.unit.serving import RELEASE, Serving

COLOURS = ("red", "blue", "green", "black")


async def results(serving, colour="red", **fields):
    answer = (await serving.search(encoded(shirt(colour)), **fields)).json()
    return [(hit["id"], hit["near_duplicates"]) for hit in answer["results"]]


@pytest.fixture
async def serving():
    """Shirts of four colours, ids 1 to 4, and mirror images of the first three, ids 5 to 7."""
    async with Serving() as serving:
        for picture in [*map(shirt, COLOURS), *(ImageOps.mirror(shirt(one)) for one in COLOURS[:3])]:
            await serving.index(encoded(picture))
        yield serving


async def test_each_colour_of_a_shirt_is_a_result_with_its_own_copies(serving):
    first, *others = await results(serving)
    assert first == (1, [5])
    assert sorted(sorted([best, *copies]) for best, copies in others) == [[2, 6], [3, 7], [4]]


async def test_the_first_results_hold_each_colour_once(serving):
    found = await results(serving, k=2)
    assert found[0] == (1, [5])
    assert len(found[1][1]) == (found[1][0] != 4)


async def test_a_picture_indexed_without_colours_folds_by_hash_and_embedding(serving):
    serving.image_repository.colours = dict.fromkeys(range(1, 8))
    assert [sorted([best, *copies]) for best, copies in await results(serving)] == [list(range(1, 8))]


async def test_the_cosine_of_the_release_decides_what_folds(serving):
    record = serving.release_repository.by_name[RELEASE.name]
    strict = replace(record, release=replace(record.release, duplicate_cosine=0.9999999))
    serving.release_repository.by_name[RELEASE.name] = strict
    assert all(copies == [] for _, copies in await results(serving))


async def test_rows_are_asked_for_once_if_nothing_of_another_colour_folds(serving):
    asked = []
    shown = serving.duplicate_exclusions.pairs_and_shown

    async def counted(candidates, wanted, owner):
        asked.append(len(wanted))
        return await shown(candidates, wanted, owner)

    serving.duplicate_exclusions.pairs_and_shown = counted
    await asyncio.gather(*(serving.image_repository.delete(image_id) for image_id in (2, 3, 4, 6, 7)))
    await serving.vectors.delete(RELEASE.collection, [2, 3, 4, 6, 7])
    assert await results(serving) == [(1, [5])]
    assert asked == [2]
