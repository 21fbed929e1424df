"""Results of the shipped encoder on the demo corpus by exact search; each kind of wrong preprocessing is detected.

tests/data/golden.json holds, for fixed queries, the nearest demo pictures with their scores:

    python -m tests.golden        (after a new model/version 1 was published)
"""

import numpy as np
import pytest
from PIL import Image

from gateway.explanation.similarity_heatmap import agreement
from tests import golden
from tests.reference_pictures import PICTURES, sample
from visualsearch.domain.images import Box
from visualsearch.imaging.preprocessing import decode


def mistakes(pixels):
    """Which of the golden queries find something else than they should, given their pixels by (name, data, box)."""
    return golden.mistakes(golden.embed(np.stack([pixels(*query) for query in golden.queries()])))


def right(_name, data, box):
    return decode(data, box).pixels


def test_fixed_queries_find_what_they_found_when_the_encoder_was_published():
    assert mistakes(right) == {}


def swapped_channels(name, data, box):
    return right(name, data, box)[..., ::-1]


def wrong_crop(name, data, box):
    return right(name, data, box and Box(box.y1, box.x1, box.y1 + box.height, box.x1 + box.width))


def letterboxed(name, data, box):
    """Keeps the shape instead of squashing."""
    whole = decode(data, box)
    image = Image.fromarray(whole.pixels).resize((224, 150))
    canvas = Image.new("RGB", (224, 224), "white")
    canvas.paste(image, (0, 37))
    return np.array(canvas)


def without_antialiasing(name, data, box):
    image = Image.fromarray(right(name, data, box))
    return np.array(image.resize((56, 56), Image.Resampling.NEAREST).resize((224, 224), Image.Resampling.NEAREST))


def on_black(name, data, box):
    """What was transparent is black instead of white: here, whatever is white."""
    pixels = right(name, data, box).copy()
    pixels[(pixels > 250).all(2)] = 0
    return pixels


def upside_down(name, data, box):
    return right(name, data, box)[::-1]


def normalised_twice(name, data, box):
    return ((right(name, data, box).astype(np.float32) - 127) / 128).astype(np.uint8)


@pytest.mark.parametrize(
    "broken",
    [swapped_channels, wrong_crop, letterboxed, without_antialiasing, on_black, upside_down, normalised_twice],
)
def test_the_golden_queries_detect_a_change(broken):
    assert mistakes(broken)


def test_the_golden_queries_detect_an_encoder_without_its_normalisation():
    pixels = np.stack([right(*query) for query in golden.queries()])
    assert golden.mistakes(golden.embed(pixels, golden.without_normalisation()))


def pasted(seed):
    """One thing in two places on two pictures: pixels uint8 [2, 224, 224, 3] and the boxes."""
    random = np.random.default_rng(seed)
    names = sample()
    thing, *grounds = (
        Image.fromarray(decode((PICTURES / name).read_bytes()).pixels)
        for name in random.choice(names, 3, replace=False)
    )
    side = int(random.choice([80, 96, 112]))
    thing = thing.resize((side, side))
    places = random.integers(0, 224 - side, (2, 2))
    for ground, (left, top) in zip(grounds, places.tolist(), strict=True):
        ground.paste(thing, (left, top))
    return np.stack([np.array(ground) for ground in grounds]), [(left, top, side) for left, top in places.tolist()]


def test_the_heatmap_is_hottest_where_two_pictures_are_alike():
    blank = golden.feature_maps(np.full((1, 224, 224, 3), 255, np.uint8))[0]
    shares, areas = [], []
    for seed in range(12):
        pixels, boxes = pasted(seed)
        for heat, (left, top, side) in zip(agreement(golden.feature_maps(pixels), blank), boxes, strict=True):
            fine = np.repeat(np.repeat(heat, 32, 0), 32, 1)
            shares.append(fine[top : top + side, left : left + side].sum() / fine.sum())
            areas.append(side**2 / 224**2)
    assert np.mean(shares) > 0.6
    assert np.mean(areas) < 0.2
    assert np.mean(np.array(shares) > 1.5 * np.array(areas)) > 0.9
