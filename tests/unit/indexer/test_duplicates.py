"""Finding the duplicates of a corpus, on fakes and against a slow definition."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import ImageOps

from evaluation.offline.shirts import flat, shirt
from indexer.maintenance import duplicate_groups
from indexer.maintenance.duplicate_corpus import DuplicateCorpus
from indexer.maintenance.duplicate_groups import DuplicateFinder
from indexer.maintenance.duplicate_report import find_duplicates
from tests.pictures import encoded, jpeg, noise
from tests.unit.serving import RELEASE, Serving
from visualsearch.domain.colour_layout import ColourLayouts, pack
from visualsearch.domain.images import Visibility
from visualsearch.domain.near_duplicates import NearDuplicateRule


async def report_of(serving, **options):
    stores = serving.image_repository, serving.duplicate_exclusions, serving.vectors
    return await find_duplicates(*stores, RELEASE, **options)


def grouped(groups):
    return [(one.leader, [member.image_id for member in one.members]) for one in groups]


async def test_exact_copies_and_near_duplicates_are_told_apart():
    async with Serving() as serving:
        small = await serving.index(encoded(noise(1).resize((160, 120)), "PNG"))
        large = await serving.index(encoded(noise(1), "PNG"))
        copy = await serving.index(encoded(noise(1), "PNG"))
        await serving.index(jpeg(2))
        report = await report_of(serving)
        assert grouped(report.copies) == [(large, [copy])]
        assert grouped(report.near) == [(large, [small])]
        assert report.images == 4
        assert report.near[0].members[0].cosine > 0.9


async def test_shirts_of_several_colours_and_flat_pictures_are_no_duplicates():
    async with Serving() as serving:
        for colour in ("red", "blue", "green", "black"):
            await serving.index(encoded(shirt(colour)))
        for colour in ((255, 0, 0), (0, 0, 255), (0, 0, 0)):
            await serving.index(encoded(flat(colour)))
        mirrored = await serving.index(encoded(ImageOps.mirror(shirt("red")), "PNG"))
        assert grouped((await report_of(serving)).near) == [(1, [mirrored])]


async def test_marked_pairs_are_grouped_neither_as_copies_nor_as_near_duplicates():
    async with Serving() as serving:
        one, copy = [await serving.index(encoded(noise(1), "PNG")) for _ in range(2)]
        near = await serving.index(encoded(noise(1).resize((160, 120)), "PNG"))
        await serving.duplicate_exclusions.mark_not_duplicates(one, copy, "ann")
        await serving.duplicate_exclusions.mark_not_duplicates(near, one, "ann")
        report = await report_of(serving)
        assert report.copies == []
        assert grouped(report.near) == [(copy, [near])]


async def test_the_report_says_whose_pictures_are_whose():
    async with Serving() as serving:
        await serving.index(encoded(noise(1), "PNG"), owner="ann", visibility=Visibility.PRIVATE)
        await serving.index(encoded(noise(1), "PNG"), owner="bob", name="theirs/copy.png")
        (group,) = (await report_of(serving)).to_json()["copies"]
        assert (group["keep"]["owner"], group["keep"]["visibility"]) == ("ann", "private")
        (other,) = group["others"]
        assert (other["owner"], other["visibility"]) == ("bob", "public")
        assert other["uri"].endswith("theirs/copy.png")


async def test_what_was_not_compared_is_counted():
    async with Serving() as serving:
        ids = [await serving.index(jpeg(seed)) for seed in range(3)]
        await serving.vectors.delete(RELEASE.collection, ids[:1])
        serving.image_repository.colours[ids[1]] = None
        report = await report_of(serving)
        assert (report.images, report.without_embedding, report.without_colours) == (3, 1, 1)


async def test_images_deleted_meanwhile_are_not_reported():
    async with Serving() as serving:
        ids = [await serving.index(encoded(noise(1), "PNG")) for _ in range(3)]

        async def by_ids(wanted, known=serving.image_repository.by_ids):
            return {image_id: image for image_id, image in (await known(wanted)).items() if image_id in gone_or_not}

        serving.image_repository.by_ids = by_ids
        gone_or_not = ids[:2]
        assert grouped((await report_of(serving)).copies) == [(ids[0], [ids[1]])]
        gone_or_not = ids[1:]
        assert (await report_of(serving)).copies == []


async def test_an_empty_corpus_has_no_duplicates():
    async with Serving() as serving:
        report = await report_of(serving)
        assert (report.images, report.copies, report.near) == (0, [], [])


async def test_progress_is_told_until_all_is_compared():
    told = []
    async with Serving() as serving:
        for seed in range(3):
            await serving.index(jpeg(seed))
        await report_of(serving, on_progress=lambda *what: told.append(what))
    assert told == [("read images", 3, None), ("read embeddings", 3, None), ("compared", 3, 3)]


def corpus(random, count):
    """Copies of some pictures with a few bits, directions and colours changed, in columns."""
    places = random.integers(0, 12, count)
    noise = np.bitwise_or.reduce(1 << random.integers(0, 64, (2, count, 4), np.uint64), axis=2)
    centres = random.integers(0, 2**64, (2, 12), np.uint64)
    embeddings = random.normal(size=(12, 256))[places] + random.normal(size=(count, 256)) * 0.9
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    layouts = [colour.tobytes() for colour in random.integers(0, 256, (3, 49), np.uint8)] + [b""]
    coloured, colours = pack([layouts[place] for place in random.integers(0, 4, count)])
    return DuplicateCorpus(
        np.sort(random.choice(10_000, count, replace=False)).astype(np.int64),
        np.frombuffer(random.bytes(32 * count), "V32"),
        random.integers(1, 5, count).astype(np.int64),
        coloured,
        colours,
        random.random(count) < 0.95,
        centres[0][places] ^ noise[0],
        centres[1][places] ^ noise[1],
        embeddings.astype(np.float32),
    )


def slow(found, rule, apart):
    def alike(one, other):
        hashes = [(int(found.phashes[place]), int(found.mirrored[place])) for place in (one, other)]
        (straight, turned), (other_straight, other_turned) = hashes
        ways = straight ^ other_straight, straight ^ other_turned, turned ^ other_straight
        bits = min(way.bit_count() for way in ways)
        if bits > rule.distance:
            return False
        places = np.array([one, other])
        layouts = ColourLayouts.unpacked(found.coloured[places], found.colours[places])
        cosine = np.array([found.embeddings[one] @ found.embeddings[other]])
        near = rule.confirm(np.array([bits]), cosine, layouts, np.array([0]), np.array([1]))
        ids = sorted((int(found.ids[one]), int(found.ids[other])))
        return tuple(ids) not in apart and bool(near[0])

    left = sorted(np.flatnonzero(found.embedded).tolist(), key=lambda place: (-found.areas[place], found.ids[place]))
    groups = {}
    while left:
        leader, *left = left
        members = [place for place in left if alike(leader, place)]
        left = [place for place in left if place not in members]
        if members:
            groups[int(found.ids[leader])] = {int(found.ids[place]) for place in members}
    return groups


@pytest.mark.parametrize("seed", range(12))
def test_groups_agree_with_a_slow_definition(seed, monkeypatch):
    monkeypatch.setattr(duplicate_groups, "LEADERS", 16)
    monkeypatch.setattr(duplicate_groups, "OTHERS", 32)
    monkeypatch.setattr(duplicate_groups, "PAIRS", 8)
    random = np.random.default_rng(seed)
    found, rule = corpus(random, 150), NearDuplicateRule(cosine=0.1)
    apart = {tuple(sorted(pair)) for pair in pairwise(random.permutation(found.ids).tolist())}
    groups = DuplicateFinder(found, rule, apart).near()
    assert groups
    assert {one.leader: {member.image_id for member in one.members} for one in groups} == slow(found, rule, apart)
    assert all(one.cosine >= other.cosine for group in groups for one, other in pairwise(group.members))
