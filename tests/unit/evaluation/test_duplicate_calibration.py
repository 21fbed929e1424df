"""At which cosine an encoder's embeddings are those of copies, with encoders made up for it."""

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps

from evaluation.offline.duplicate_calibration import MARGIN, calibrate, calibration_pictures
from tests.pictures import noise
from visualsearch.domain.errors import InvalidInput

PICTURES = [noise(seed, 64, 48) for seed in range(4)]


def by_hash(pixels):
    """Embeddings by the bits of a hash and of the mirror image's, so that copies have similar ones."""
    pictures = [Image.fromarray(one) for one in pixels]
    both = [(imagehash.phash(one), imagehash.phash(ImageOps.mirror(one))) for one in pictures]
    bits = np.array([[one.hash.ravel(), other.hash.ravel()] for one, other in both], np.float32).sum(1) - 1
    return np.pad(bits / np.linalg.norm(bits, axis=1, keepdims=True), ((0, 0), (0, 192)))


def all_alike(pixels):
    return np.tile(np.eye(256, dtype=np.float32)[0], (len(pixels), 1))


def test_almost_all_copies_reach_the_cosine_and_few_other_pictures():
    found = calibrate(PICTURES, by_hash)
    assert 0 < found["cosine"] < 1
    assert found["copies"] > 30
    assert found["copies_below"] <= 0.05
    assert found["nearest_neighbours_above"] <= 0.5


def test_an_encoder_that_cannot_tell_pictures_apart_is_seen_by_its_neighbours():
    found = calibrate(PICTURES, all_alike)
    assert found["cosine"] == pytest.approx(1 - MARGIN)
    assert (found["copies_below"], found["nearest_neighbours_above"]) == (0, 1)


def test_pictures_are_drawn_evenly_and_unreadable_ones_are_skipped(tmp_path):
    for number in range(5):
        noise(number, 64, 48).save(tmp_path / f"{number}.png")
    noise(9, 12, 12).save(tmp_path / "tiny.png")
    (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8\xff no picture")
    assert [picture.size for picture in calibration_pictures(tmp_path)] == [(64, 48)] * 5


def test_a_folder_without_readable_pictures_is_refused(tmp_path):
    (tmp_path / "damaged.jpg").write_bytes(b"no picture")
    with pytest.raises(InvalidInput, match="can be read"):
        calibration_pictures(tmp_path)
