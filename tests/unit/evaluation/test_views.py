"""Views of a query, ways of fitting into the square, and reasons for refusing variants."""

import numpy as np
import pytest
from PIL import Image

from evaluation.offline import exact_ranking, query_views
from evaluation.offline.sets import EvaluationSet
from export.variants import Verdict
from tests.pictures import encoded, jpeg, noise
from visualsearch.domain.errors import InvalidInput


def whole(pixels):
    """An embedding that keeps every pixel."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float32) - 127.5
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


@pytest.fixture
def pixels():
    return np.stack([np.asarray(noise(seed, 224, 224)) for seed in range(3)])


def test_an_averaged_embedding_has_unit_length_and_does_not_change_with_a_mirror(pixels):
    embed = query_views.averaged(whole, [query_views.mirrored])
    np.testing.assert_allclose(np.linalg.norm(embed(pixels), axis=1), 1, rtol=1e-5)
    sides = pixels.reshape(3, 224, 224, 3)[:, :, ::-1].reshape(pixels.shape)
    assert not np.allclose(whole(pixels), whole(sides), atol=1e-4)
    # The mirrored picture's views are the same two, each with its pixels in mirrored places.
    one, other = embed(pixels), embed(np.ascontiguousarray(sides))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_centre_is_enlarged(pixels):
    enlarged = query_views.centred(pixels)
    assert enlarged.shape == pixels.shape
    size = (224, 224)
    wanted = Image.fromarray(pixels[0]).crop((22, 22, 202, 202)).resize(size, Image.Resampling.BICUBIC)
    assert np.abs(enlarged[0].astype(int) - np.asarray(wanted)).mean() < 3


def test_a_letterbox_adds_white_and_a_square_crop_cuts():
    wide = encoded(noise(1, 400, 200), "PNG")
    boxed, cut = query_views.letterboxed(wide), query_views.cropped(wide)
    assert boxed.shape == cut.shape == (224, 224, 3)
    assert (boxed[:50] == 255).all()
    assert (boxed[-50:] == 255).all()
    assert boxed[112].std() > 10
    centre = np.asarray(noise(1, 400, 200).crop((100, 0, 300, 200)).resize((224, 224)))
    assert np.abs(cut.astype(int) - centre).mean() < 3
    with pytest.raises(InvalidInput):
        query_views.letterboxed(b"no picture")


def test_queries_may_be_embedded_in_another_way_than_the_corpus(tmp_path):
    files = {}
    for seed in range(3):
        files[f"{seed}.jpg"] = tmp_path / f"{seed}.jpg"
        files[f"{seed}.jpg"].write_bytes(jpeg(seed))
    one = EvaluationSet("set", files, files, {name: dict.fromkeys(files, 1) for name in files})
    seen = []

    def watched(pixels):
        seen.append(len(pixels))
        return whole(pixels)

    exact_ranking.exact(one, whole, embed_query=watched)
    assert seen == [3]


@pytest.mark.parametrize(
    ("cosine", "loss", "reasons"), [(0.9995, 0.001, 0), (0.9985, 0.001, 1), (0.9995, 0.005, 1), (0.5, 0.2, 2)]
)
def test_a_variant_is_refused_for_each_limit_that_it_passes(cosine, loss, reasons):
    assert len(Verdict(cosine, 0.0, 0.5, loss).reasons) == reasons
