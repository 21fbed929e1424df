"""The training data, and how batches and views are drawn."""

import csv
import importlib.util
import json
import os

import numpy as np
import pytest

from tests.pictures import jpeg
from visualsearch.domain.errors import ConfigurationError

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None and not os.environ.get("VISUALSEARCH_REQUIRE_TORCH"),
        reason="torch is not installed",
    ),
]


@pytest.fixture
def folder(tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(number))
    return tmp_path


def test_unreadable_files_are_left_out_with_a_reason_each(folder):
    from training import picture_collection

    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture, and not named as one")
    collection, skipped = picture_collection.read(folder)
    assert len(collection) == 8
    assert {name.rpartition("/")[2] for name in skipped} == {"damaged.png", "empty.jpg"}
    assert all(skipped.values())


@pytest.mark.parametrize("what", ["nothing", "no folder"])
def test_a_folder_without_pictures_is_refused_in_one_sentence(tmp_path, what):
    from training import picture_collection

    with pytest.raises(ConfigurationError, match=r"can be read|no folder") as caught:
        picture_collection.read(tmp_path if what == "nothing" else tmp_path / "missing")
    assert "\n" not in str(caught.value)


def test_every_picture_comes_once_an_epoch_and_in_another_order_the_next(folder):
    from training import picture_collection

    collection, _ = picture_collection.read(folder)
    rows = np.arange(8)
    first, again, second = (collection.batches(rows, 5, epoch, 4) for epoch in (0, 0, 1))
    assert sorted(np.concatenate(first).tolist()) == list(range(8))
    np.testing.assert_array_equal(first, again)
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()


def test_the_validation_set_contains_nothing_that_is_trained_on(folder):
    from training import picture_collection

    with (folder / "pictures.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("file", "concept", "category"), *((f"{n}.jpg", f"thing {n // 2}", "") for n in range(8))]
        )
    collection, _ = picture_collection.read(folder)
    trained, watched = collection.split(0.5, 100, seed=1)
    assert len(trained) == len(watched) == 4
    assert not set(collection.labels[trained]) & set(collection.labels[watched])
    partners = {collection.partner(0, np.random.default_rng(n)) for n in range(20)}
    assert partners == {0, 1}


def test_clicks_make_up_their_share_of_each_batch_and_keep_to_their_box(folder):
    from training import picture_collection

    clicks = folder / "clicks"
    clicks.mkdir()
    (clicks / "query.jpg").write_bytes(jpeg(100))
    (clicks / "positive.jpg").write_bytes(jpeg(101))
    pair = {"query": "query.jpg", "box": "0,0,40,30", "positive": "positive.jpg", "clicks": 2}
    (clicks / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    for name in ("query.jpg", "positive.jpg"):
        (folder / name).write_bytes(b"")  # not the ones in the folder itself
    collection, _ = picture_collection.read(folder, clicks)
    clicked = np.flatnonzero(collection.clicked)
    boxed = next(collection.pictures[row] for row in clicked if collection.pictures[row].box)
    assert str(boxed.box) == "0,0,40,30"
    assert len(set(collection.labels[clicked])) == 1
    for batch in collection.batches(np.arange(len(collection)), 0, 0, 4, click_ratio=0.5):
        assert collection.clicked[batch].sum() == 2
    with pytest.raises(ConfigurationError, match=r"training\.click_pairs"):
        picture_collection.read(folder, folder)


def test_a_view_is_made_of_the_box_alone_and_is_the_same_for_the_same_seed():
    from training import augment
    from visualsearch.domain.images import Box

    file = jpeg(3, 320, 240)
    one, same, other = (augment.view(file, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (224, 224, 3)
    assert one.dtype == np.uint8
    assert (one != other).any()
    inside = Box(100, 50, 140, 90)
    for seed in range(50):
        box = augment.crop(inside, np.random.default_rng(seed))
        assert inside.x1 <= box.x1 < box.x2 <= inside.x2
        assert inside.y1 <= box.y1 < box.y2 <= inside.y2


def test_every_augmentation_keeps_the_size_and_changes_the_pixels():
    from PIL import Image

    from training import augment

    picture = Image.open(__import__("io").BytesIO(jpeg(4))).convert("RGB").resize((224, 224))
    changes = ("smaller", "turned", "coloured", "grey", "blurred", "labelled", "compressed")
    for name in changes:
        changed = getattr(augment, name)(picture, np.random.default_rng(0))
        assert changed.size == (224, 224), name
        assert changed.mode == "RGB", name
        assert (np.asarray(changed) != np.asarray(picture)).any(), name
