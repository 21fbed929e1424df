"""The ranking, compared with a slow and obvious one."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.offline.shirts import shirt
from gateway.search.ranking import depends_on_colours, rank, without
from tests.pictures import encoded
from visualsearch.domain.near_duplicates import NearDuplicateRule
from visualsearch.domain.search import Candidates, NearDuplicates, Ranked
from visualsearch.imaging.preprocessing import prepare

FOLD, KEEP = NearDuplicates.COLLAPSE, NearDuplicates.KEEP


def candidates(phashes, mirrored=None, ids=None):
    """Candidates of falling score; a mirrored hash that is not given is far from everything."""
    count = len(phashes)
    far = [0xAAAAAAAAAAAAAAAA] * count
    return Candidates(
        np.array(ids or range(1, count + 1), np.int64),
        np.linspace(1, 0.5, count, dtype=np.float32),
        np.array(phashes, np.uint64),
        np.array(mirrored or far, np.uint64),
        True,
    )


def bits(count):
    """A number with so many bits set: its distance from 0."""
    return 2**count - 1


def folded(found, limit=1000, apart=()):
    return [(one.image_id, one.near_duplicates) for one in rank(found, FOLD, limit, apart)]


def test_ten_bits_fold_and_eleven_do_not():
    assert folded(candidates([0, bits(10), bits(11)])) == [(1, (2,)), (3, ())]


def test_a_mirror_image_folds():
    assert folded(candidates([0, bits(40)], mirrored=[bits(64), 0])) == [(1, (2,))]


def test_nothing_folds_into_a_folded_candidate():
    chain = candidates([0, bits(8), bits(16)])
    assert folded(chain) == [(1, (2,)), (3, ())]


def test_members_fold_into_the_best_that_they_resemble():
    assert folded(candidates([0, bits(12), bits(6)])) == [(1, (3,)), (2, ())]


def test_a_pair_marked_as_no_duplicates_never_folds_but_each_still_leads():
    found = candidates([0, bits(8), bits(16)])
    assert folded(found, apart={(1, 2)}) == [(1, ()), (2, (3,))]


def test_a_candidate_excluded_from_the_best_folds_into_the_next():
    found = candidates([0, bits(11), bits(5)])
    assert folded(found, apart={(1, 3)}) == [(1, ()), (2, (3,))]


def test_members_are_ordered_by_score_and_have_the_score_of_their_leader():
    best, *others = rank(candidates([0, 1, 3, 7], ids=[9, 4, 8, 2]), FOLD, 10)
    assert best == Ranked(9, 1.0, (4, 8, 2))
    assert not others


def test_keep_lists_each():
    ranked = rank(candidates([0, 0, 0]), KEEP, 2)
    assert [(one.image_id, one.near_duplicates) for one in ranked] == [(1, ()), (2, ())]


@pytest.mark.parametrize("how", [FOLD, KEEP])
def test_no_candidates_give_no_ranking(how):
    assert rank(candidates([]), how, 10) == []


def test_the_limit_applies_to_leaders_and_not_to_their_members():
    assert folded(candidates([0, bits(30), bits(60), 1]), limit=1) == [(1, (4,))]


def test_a_removed_candidate_is_neither_shown_nor_a_leader():
    assert folded(without(candidates([0, 1, 3]), {1})) == [(2, (3,))]
    assert folded(without(candidates([0, 1]), set())) == [(1, (2,))]


def slow(found, limit, apart):
    rows = list(zip(*(column.tolist() for column in (found.ids, found.phashes, found.phashes_mirrored)), strict=True))
    places = []
    for image_id, phash, mirrored in rows:
        for leader, leader_hash, leader_mirrored, members in places:
            ways = (leader_hash ^ phash, leader_hash ^ mirrored, leader_mirrored ^ phash)
            near = min(way.bit_count() for way in ways) <= 10
            if near and (min(leader, image_id), max(leader, image_id)) not in apart:
                members.append(image_id)
                break
        else:
            places.append((image_id, phash, mirrored, []))
    return [(leader, tuple(members)) for leader, _, _, members in places[:limit]]


@pytest.mark.parametrize("seed", range(30))
def test_ranking_agrees_with_a_slow_definition(seed):
    random = np.random.default_rng(seed)
    centres = random.integers(0, 2**64, 8, np.uint64)
    noise = np.bitwise_or.reduce(1 << random.integers(0, 64, (2, 150, 7), np.uint64), axis=2)
    near = centres[random.integers(0, 8, 150)] ^ noise[0]
    mirrored = centres[random.integers(0, 8, 150)] ^ noise[1]
    ids = random.permutation(np.arange(1, 1000))[:150].tolist()
    found = candidates(near.tolist(), mirrored.tolist(), ids)
    apart = {tuple(sorted(random.choice(ids, 2, replace=False).tolist())) for _ in range(400)}
    limit = int(random.integers(1, 40))
    assert folded(found, limit, apart) == slow(found, limit, apart)


def unit(*directions):
    """Embeddings that are orthogonal where the directions differ."""
    return np.eye(256, dtype=np.float32)[list(directions)]


def test_pictures_of_a_low_cosine_never_fold_however_alike_their_hashes_are():
    found = replace(candidates([0, 0, bits(6), bits(8)]), embeddings=unit(0, 1, 2, 0))
    assert folded(found) == [(1, (4,)), (2, ()), (3, ())]
    assert folded(without(found, {4})) == [(1, ()), (2, ()), (3, ())]


def test_the_release_says_which_cosine_is_low():
    embeddings = unit(0, 0)
    embeddings[1, :2] = 0.8, 0.6
    found = replace(candidates([0, 0]), embeddings=embeddings)
    ranked = {cosine: rank(found, FOLD, 10, (), NearDuplicateRule(cosine=cosine)) for cosine in (0.79, 0.81)}
    assert {cosine: len(one) for cosine, one in ranked.items()} == {0.79: 1, 0.81: 2}


def colours_of(*pictures):
    return {number: prepare(encoded(one)).colours for number, one in enumerate(pictures, 1)}


def test_one_shirt_in_several_colours_is_several_results():
    shirts = colours_of(*map(shirt, ("red", "blue", "green", "black")))
    apart = rank(candidates([0, 2, 4, 3]), FOLD, 10, colours=shirts)
    assert [one.near_duplicates for one in apart] == [(), (), (), ()]
    assert not depends_on_colours(apart, shirts)
    together = rank(candidates([0, 2, 4, 3]), FOLD, 10)
    assert [one.near_duplicates for one in together] == [(2, 3, 4)]
    assert depends_on_colours(together, shirts)


def test_pictures_without_known_colours_fold_by_hash_and_embedding():
    found = candidates([0, 2, 4])
    known = {1: colours_of(shirt("red"))[1]}
    assert [one.near_duplicates for one in rank(found, FOLD, 10, colours=known)] == [(2, 3)]
    assert not depends_on_colours(rank(found, FOLD, 10), known)
