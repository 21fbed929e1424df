"""A search, on fakes."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from gateway.search.options import SearchOptions
from tests.pictures import encoded, jpeg, noise
from tests.unit.serving import RELEASE, Serving
from visualsearch.domain.errors import FingerprintMismatch, NotFound, Overloaded, Unavailable
from visualsearch.domain.images import Status, Visibility
from visualsearch.domain.releases import ReleaseState
from visualsearch.domain.search import Filter, NearDuplicates

FOLD, KEEP = NearDuplicates.COLLAPSE, NearDuplicates.KEEP


@pytest.fixture
async def serving():
    async with Serving() as serving:
        yield serving


def ids(answer):
    return [hit.id for hit in answer.results]


async def ask(serving, data, k=10, how=FOLD, where=None):
    return await serving.gateway.search.by_picture(data, None, SearchOptions(k, how, where or Filter()))


async def similar(serving, image_id, k=10, how=FOLD):
    image = await serving.image_repository.get(image_id)
    return await serving.gateway.search.by_image(image, SearchOptions(k, how, Filter(), left_out=image_id))


def copy(seed, side):
    return encoded(noise(seed).resize((side, side * 3 // 4)), "PNG")


async def test_the_picture_itself_comes_first_and_ranks_start_at_one(serving):
    for seed in range(5):
        await serving.index(jpeg(seed))
    answer = await ask(serving, jpeg(3))
    assert answer.results[0].id == 4
    assert [hit.rank for hit in answer.results] == [1, 2, 3, 4, 5]
    assert (answer.results[0].width, answer.results[0].height) == (320, 240)
    assert answer.results[0].uri == "s3://images/uploads/3.jpg"
    assert set(answer.timings_ms) == {"decode", "embed", "ann", "rank"}
    assert answer.latency_ms >= sum(answer.timings_ms.values())
    assert answer.release == RELEASE.name


async def test_every_search_has_an_id_of_its_own(serving):
    first, second = await ask(serving, jpeg(1)), await ask(serving, jpeg(1))
    assert first.query_image_id != second.query_image_id


async def test_an_image_without_a_row_is_not_shown_and_folds_no_near_duplicate(serving):
    best, twin, other = [await serving.index(data) for data in (jpeg(1), copy(1, 160), jpeg(2))]
    await serving.image_repository.delete(best)
    assert ids(await ask(serving, jpeg(1))) == [twin, other]


async def test_a_near_duplicate_without_a_row_is_not_listed(serving):
    best, twin = [await serving.index(data) for data in (jpeg(1), copy(1, 160))]
    await serving.image_repository.delete(twin)
    hit = (await ask(serving, jpeg(1))).results[0]
    assert (hit.id, hit.near_duplicates) == (best, ())


@pytest.mark.parametrize("status", [Status.PENDING, Status.REJECTED])
async def test_an_image_that_is_not_indexed_is_not_shown(serving, status):
    hidden, other = await serving.index(jpeg(1)), await serving.index(jpeg(2))
    serving.image_repository.images[hidden] = replace(serving.image_repository.images[hidden], status=status)
    assert ids(await ask(serving, jpeg(1))) == [other]


async def test_more_candidates_are_fetched_until_k_results_are_there(serving):
    picture = jpeg(1)
    original = await serving.index(picture)
    row = serving.vectors.rows[RELEASE.collection][original]
    for _ in range(300):
        image_id = await serving.index(picture)
        serving.vectors.rows[RELEASE.collection][image_id] = replace(row, image_id=image_id)
    others = [await serving.index(jpeg(seed)) for seed in range(2, 6)]
    answer = await ask(serving, jpeg(1), k=5)
    assert serving.vectors.counts_asked == [200, 800]
    assert ids(answer)[0] == original
    assert len(answer.results[0].near_duplicates) == 300
    assert set(ids(answer)[1:]) == set(others)


async def test_fewer_than_k_come_back_from_a_smaller_corpus_after_one_call(serving):
    await serving.index(jpeg(1))
    assert len((await ask(serving, jpeg(1), k=200)).results) == 1
    assert serving.vectors.counts_asked == [800]


async def test_an_empty_corpus_gives_no_results(serving):
    assert (await ask(serving, jpeg(1))).results == ()


async def test_private_blocked_and_small_images_are_left_out(serving):
    await serving.index(jpeg(1), owner="ada", visibility=Visibility.PRIVATE)
    await serving.index(jpeg(2), source="bad")
    await serving.index(jpeg(3, 100, 40))
    shown = await serving.index(jpeg(4))
    where = Filter(blocked_sources=frozenset({"bad"}), min_side=50)
    assert ids(await ask(serving, jpeg(1), where=where)) == [shown]
    assert 1 in ids(await ask(serving, jpeg(1), where=replace(where, owner="ada")))


async def test_similar_excludes_the_image_but_not_its_near_duplicates(serving):
    image, twin, other = [await serving.index(data) for data in (jpeg(1), copy(1, 160), jpeg(2))]
    answer = await similar(serving, image)
    assert ids(answer) == [twin, other]
    assert answer.query_image_id == image
    assert image not in (member for hit in answer.results for member in hit.near_duplicates)


async def test_similar_embeds_the_file_where_the_live_release_lacks_the_vector(serving):
    image, other = await serving.index(jpeg(1)), await serving.index(jpeg(2))
    await serving.vectors.delete(RELEASE.collection, [image])
    assert ids(await similar(serving, image)) == [other]


async def test_similar_to_an_image_that_is_not_indexed_is_not_found(serving):
    image = await serving.index(jpeg(1))
    await serving.image_repository.mark_rejected(image, "broken")
    with pytest.raises(NotFound, match="rejected"):
        await similar(serving, image)


async def test_an_encoder_that_did_not_make_the_release_is_refused(serving):
    serving.encoder.print = "0" * 64
    with pytest.raises(FingerprintMismatch, match="v1"):
        await ask(serving, jpeg(1))


async def test_a_release_of_earlier_pixels_is_searched_and_the_log_says_so_once(serving, caplog):
    image = await serving.index(jpeg(1))
    for _ in range(2):
        assert ids(await ask(serving, jpeg(1))) == [image]
    assert [line.getMessage() for line in caplog.records if "revision" in line.getMessage()] == [
        "release v1 was built of pixels of revision 1, and queries have revision 2: unusual pictures may be missed "
        "until a release is built anew (docs/releases.md)"
    ]


async def test_an_encoder_without_a_fingerprint_is_trusted(serving):
    image = await serving.index(jpeg(1))
    serving.encoder.print = ""
    assert ids(await ask(serving, jpeg(1))) == [image]


@pytest.mark.parametrize("server", ["encoder", "vectors", "image_repository"])
async def test_a_server_that_is_down_makes_a_search_unavailable(serving, server):
    await serving.index(jpeg(1))
    getattr(serving, server).down = True
    with pytest.raises(Unavailable):
        await ask(serving, jpeg(1))


async def test_a_lost_collection_is_unavailable_rather_than_not_found(serving):
    serving.vectors.rows.clear()
    with pytest.raises(Unavailable, match="v1"):
        await ask(serving, jpeg(1))


async def test_a_slow_server_meets_the_deadline():
    async with Serving(deadline_ms=100) as serving:
        serving.encoder.delay_s = 30
        with pytest.raises(Unavailable, match=r"0\.1 s"):
            await ask(serving, jpeg(1))


async def test_pictures_beyond_the_queue_are_refused_at_once():
    async with Serving(max_waiting=2) as serving:
        answers = await asyncio.gather(*(ask(serving, jpeg(seed)) for seed in range(5)), return_exceptions=True)
        assert [type(one) for one in answers].count(Overloaded) == 3
        await ask(serving, jpeg(1))


async def test_an_answer_comes_from_the_release_that_it_began_with_though_another_becomes_live(serving):
    image = await serving.index(jpeg(1))
    newer = replace(RELEASE, name="v2", model_version=2, collection="images_v2")
    serving.vectors.rows["images_v2"] = {}
    encoding, switched = asyncio.Event(), asyncio.Event()
    encode = serving.encoder.encode

    async def encode_after_the_switch(*words):
        encoding.set()
        await switched.wait()
        return await encode(*words)

    serving.encoder.encode = encode_after_the_switch
    begun = asyncio.create_task(ask(serving, jpeg(1)))
    await encoding.wait()
    serving.release_repository.by_name = {}
    await serving.release_repository.add(newer, ReleaseState.LIVE)
    switched.set()
    answer = await begun
    assert (answer.release, ids(answer)) == ("v1", [image])
    serving.clock.advance(60)
    after = await ask(serving, jpeg(1))
    assert (after.release, ids(after)) == ("v2", [])


async def test_the_last_known_release_answers_while_the_release_repository_hangs(serving):
    releases = serving.gateway.releases
    assert await releases.live() == RELEASE
    asked = asyncio.Event()

    async def hang():
        asked.set()
        await asyncio.sleep(60)

    serving.release_repository.records = hang
    serving.clock.advance(60)
    async with asyncio.timeout(5):
        assert await releases.live() == RELEASE
    assert asked.is_set()


async def test_a_search_by_embedding_shows_only_what_is_still_there(serving):
    gone, there = await serving.index(jpeg(1)), await serving.index(jpeg(2))
    await serving.image_repository.delete(gone)
    vector = np.full(256, 1 / 16, np.float32)
    found = await serving.gateway.search.by_embedding(vector, RELEASE, SearchOptions(5, KEEP, Filter()))
    assert [hit.id for hit in found] == [there]


async def test_results_and_folded_pictures_below_the_lowest_score_are_left_out(serving):
    for number in range(30):
        await serving.index(jpeg(number))
    everything = (await ask(serving, jpeg(3), k=30, how=KEEP)).results
    for score in (-1, everything[9].score, 1.0):
        options = SearchOptions(30, KEEP, Filter(), min_score=score)
        answer = await serving.gateway.search.by_picture(jpeg(3), None, options)
        assert ids(answer) == [hit.id for hit in everything if hit.score >= score]


async def test_a_picture_below_the_lowest_score_is_not_folded_into_a_result(serving):
    best, twin = [await serving.index(data) for data in (jpeg(1), copy(1, 40))]
    first, second = (hit.score for hit in (await ask(serving, jpeg(1), how=KEEP)).results)
    options = SearchOptions(10, FOLD, Filter(), min_score=(first + second) / 2)
    (hit,) = (await serving.gateway.search.by_picture(jpeg(1), None, options)).results
    assert (await ask(serving, jpeg(1))).results[0].near_duplicates == (twin,)
    assert (hit.id, hit.near_duplicates) == (best, ())


async def test_no_more_candidates_are_fetched_once_all_others_score_too_low(serving):
    for number in range(60):
        await serving.index(jpeg(number))
    serving.vectors.counts_asked.clear()
    release = replace(RELEASE, search_params={"candidates": 10})
    embedding = serving.vectors.rows[RELEASE.collection][4].embedding
    options = SearchOptions(10, KEEP, Filter(), min_score=0.9)
    found = await serving.gateway.search.by_embedding(embedding, release, options)
    assert ([hit.id for hit in found], serving.vectors.counts_asked) == ([4], [40])
