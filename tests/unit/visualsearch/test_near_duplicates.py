"""What is the same picture: colour layouts and the rule, on edits, on other colours and on anything."""

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from evaluation.offline.shirts import COLOURS, flat, shirt
from tests.pictures import encoded, noise
from visualsearch.domain.colour_layout import LAYOUT_BYTES, ColourLayouts, colour_layout
from visualsearch.domain.near_duplicates import NearDuplicateRule, hash_distances
from visualsearch.imaging.preprocessing import prepare

EDITS = {
    "JPEG quality 10": lambda picture: Image.open(BytesIO(encoded(picture, quality=10))),
    "quarter size": lambda picture: picture.resize((picture.width // 4, picture.height // 4)),
    "mirrored": ImageOps.mirror,
    "cropped": lambda picture: ImageOps.crop(picture, picture.width // 40),
    "grey": ImageOps.grayscale,
    "contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.4),
    "brightness": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
}
FLATS = [(255, 0, 0), (0, 0, 255), (0, 160, 0), (255, 255, 255), (128, 128, 128), (0, 0, 0), (255, 230, 200)]
FIRST, SECOND = np.array([0]), np.array([1])


def layouts(*pictures):
    return ColourLayouts.of([prepare(encoded(picture, "PNG")).colours for picture in pictures])


def agree(one, other):
    (found,) = layouts(one, other).agree(FIRST, SECOND)
    return bool(found)


def confirmed(rule, bits, cosine, kept):
    found = rule.confirm(np.array([bits], np.uint8), np.array([cosine], np.float32), kept, FIRST, SECOND)
    return bool(found[0])


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
@pytest.mark.parametrize("picture", [shirt("red"), shirt("black"), shirt("green"), noise(1), noise(2), noise(3)])
def test_an_edit_agrees_with_its_original(edit, picture):
    assert agree(edit(picture), picture)


@pytest.mark.parametrize(("one", "other"), list(combinations(COLOURS, 2)))
def test_shirts_of_two_colours_do_not_agree(one, other):
    assert not agree(shirt(one), shirt(other))
    assert not agree(ImageOps.mirror(shirt(one)), shirt(other))


@pytest.mark.parametrize(("one", "other"), list(combinations(FLATS, 2)))
def test_two_flat_colours_do_not_agree(one, other):
    assert not agree(flat(one), flat(other))


@pytest.mark.parametrize("colour", FLATS)
def test_a_flat_colour_agrees_with_its_copy(colour):
    assert agree(flat(colour), EDITS["JPEG quality 10"](flat(colour)))


def test_of_nearly_empty_pictures_the_embeddings_must_be_closer():
    specks = [flat((250, 250, 250)), flat((250, 250, 250))]
    specks[1].paste((235, 235, 235), (20, 20, 60, 40))
    rule, kept = NearDuplicateRule(cosine=0.6), layouts(*specks)
    assert kept.plain(FIRST, SECOND).all()
    for cosine, wanted in ((0.79, False), (0.81, True)):
        assert confirmed(rule, 0, cosine, kept) is wanted
    assert confirmed(rule, 0, 0.61, layouts(noise(1), noise(1)))


def test_hashes_farther_apart_need_closer_embeddings():
    rule, kept = NearDuplicateRule(cosine=0.6), layouts(noise(1), noise(1))
    assert [confirmed(rule, bits, 0.61, kept) for bits in (0, 4, 5, 10)] == [True, True, False, False]
    assert [confirmed(rule, bits, 0.81, kept) for bits in (0, 4, 5, 10, 11)] == [True, True, True, True, False]


def test_pictures_without_layouts_agree_with_all():
    kept = ColourLayouts.of([b"", prepare(encoded(shirt("red"))).colours, b""])
    assert kept.agree(np.array([0, 0]), np.array([1, 2])).all()


anything = st.binary(min_size=LAYOUT_BYTES, max_size=LAYOUT_BYTES) | st.just(b"")
tints = st.tuples(*[st.integers(0, 255)] * 3).map(lambda one: colour_layout(np.asarray(flat(one))))


@settings(max_examples=200, deadline=None)
@given(st.lists(anything | tints, min_size=1, max_size=8))
def test_colours_agree_whichever_of_two_pictures_leads(found):
    kept = ColourLayouts.of(found)
    one, other = (places.ravel() for places in np.indices((len(found), len(found))))
    assert kept.agree(one, other).tolist() == kept.agree(other, one).tolist()
    assert kept.plain(one, other).tolist() == kept.plain(other, one).tolist()
    same = np.arange(len(found))
    assert kept.agree(same, same).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 2), min_size=1, max_size=8))
def test_hash_distances_are_the_same_whichever_of_two_pictures_leads(hashes):
    phashes, mirrored = np.array(hashes, np.uint64).T
    bits = hash_distances(phashes, mirrored, np.arange(len(hashes)))
    assert bits.tolist() == bits.T.tolist()
    for row, (straight, turned) in enumerate(hashes):
        for column, (other, other_turned) in enumerate(hashes):
            ways = (straight ^ other, straight ^ other_turned, turned ^ other)
            assert bits[row, column] == min(way.bit_count() for way in ways)
