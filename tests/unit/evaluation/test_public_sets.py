"""The split is fixed and leaks nothing; the public sets are graded as documented."""

import csv
import json
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from evaluation.datasets import qt_resources
from evaluation.datasets.fetch import SOURCES, PackageSource, fetch
from evaluation.datasets.fetch import main as fetch_command
from evaluation.offline import edits, public_sets
from evaluation.offline.splits import bucket, emoji_base, emoji_held_out, held_out, openclipart_held_out
from tests.pictures import encoded, noise
from tests.reference_pictures import ROOT
from visualsearch.domain.errors import ConfigurationError, InvalidInput


@pytest.fixture
def emoji_data(tmp_path):
    """Packages of emoji as npm unpacks them, with a few emoji that are held out and one that is not."""
    codes = [f"1F{n:03X}" for n in range(0x400, 0x500)]
    held = [code for code in codes if emoji_held_out(code)][:4]
    free = next(code for code in codes if not emoji_held_out(code))
    entries = [
        {"unified": held[0], "category": "A", "subcategory": "a"},
        {"unified": held[1], "category": "A", "subcategory": "a"},
        {"unified": held[2], "category": "A", "subcategory": "b"},
        {"unified": held[3], "category": "B", "subcategory": "c"},
        {"unified": free, "category": "A", "subcategory": "a"},
    ]
    tone = f"{held[0]}-1F3FD"
    entries[0]["skin_variations"] = {"1F3FD": {"unified": tone}, "1F3FB": {"unified": f"{held[0]}-1F3FB"}}
    for hand in ("google", "twitter"):
        folder = tmp_path / f"emoji-datasource-{hand}" / "package" / "img" / hand / "64"
        folder.mkdir(parents=True)
        for seed, code in enumerate([*held, free, tone, f"{held[0]}-1F3FB"]):
            (folder / f"{code.lower()}.png").write_bytes(encoded(noise(seed, 64, 64), "PNG"))
    (tmp_path / "emoji-datasource-google" / "package" / "emoji.json").write_text(json.dumps(entries))
    return tmp_path, held, free, tone


def test_emoji_are_graded_by_identity_variant_subcategory_and_category(emoji_data):
    data, held, free, tone = emoji_data
    one = public_sets.emoji(data, "google", "twitter")
    assert set(one.queries) == set(held)
    assert set(one.corpus) == {*held, tone}
    assert one.grades[held[0]] == {held[0]: 5, tone: 4, held[1]: 2, held[2]: 1}
    assert "/google/" in one.queries[held[0]].as_posix()
    assert "/twitter/" in one.corpus[held[0]].as_posix()
    assert not one.asks_itself
    assert all(held_out(file) for file in [*one.queries.values(), *one.corpus.values()])
    assert not held_out(one.queries[held[0]].with_name(f"{free.lower()}.png"))


@pytest.mark.parametrize(
    ("variant", "base"),
    [
        ("1F468-1F3FD-200D-1F680", "1F469-200D-1F680"),
        ("1F3C3-200D-2640-FE0F", "1F3C3"),
        ("1F3C3-1F3FF-200D-2642-FE0F-200D-27A1-FE0F", "1F3C3"),
        ("1f44d-1f3fb", "1F44D"),
        ("0023-FE0F-20E3", "23-20e3"),
    ],
)
def test_variants_of_an_emoji_are_on_the_same_side(variant, base):
    assert emoji_base(variant) == emoji_base(base)
    assert emoji_held_out(variant) == emoji_held_out(base)


def test_signs_that_are_also_modifiers_keep_a_base_of_their_own():
    assert emoji_base("27A1-FE0F") != emoji_base("2640-FE0F")


def test_the_split_never_changes():
    assert [bucket(word, 7) for word in ("a", "b", "animals/birds")] == [1, 6, 5]
    assert openclipart_held_out("food/fruit/apple.png")
    assert not openclipart_held_out("shapes/stars/star.png")


def test_whole_packages_folders_and_the_demo_corpus_are_held_out(tmp_path):
    assert held_out(tmp_path / "tuxpaint-stamps-default" / "a.png")
    assert held_out(tmp_path / "fluent-emoji-3d" / "package" / "assets" / "1f600.webp")
    assert held_out(tmp_path / "usr/share/openclipart/png/food/fruit/x.png")
    assert not held_out(tmp_path / "usr/share/openclipart/png/shapes/stars/x.png")
    # The original of a demo picture, in a folder that is not held out as a whole.
    with (ROOT / "demo" / "provenance.csv").open(newline="") as stream:
        originals = [row["original"] for row in csv.DictReader(stream)]
    alone = next(one for one in originals if bucket(one.partition("/png/")[2].rpartition("/")[0], 4))
    assert held_out(tmp_path / alone)
    assert not held_out((tmp_path / alone).with_name("x.png"))
    assert held_out(ROOT / "demo" / "pictures" / "food" / "x.jpg")
    assert not held_out(tmp_path / "gcompris-qt-data" / "a.webp")


def test_every_edit_asks_for_its_original_among_distinct_pictures(tmp_path):
    files = {}
    for seed in range(6):
        for copy in range(2):  # the second is a near-duplicate and must go
            file = tmp_path / f"{seed}-{copy}.png"
            file.write_bytes(encoded(noise(seed, 200 + copy, 160), "PNG"))
            files[file.name] = file
    (tmp_path / "broken.png").write_bytes(b"no picture")
    files["broken.png"] = tmp_path / "broken.png"
    one = edits.evaluation_set("edits", files, 100, tmp_path / "edits")
    assert len(one.corpus) == 6
    assert len(one.queries) == 6 * len(edits.EDITS)
    for query, judged in one.grades.items():
        (original,) = judged
        assert query == f"{one.groups[query]}/{original}"
    again = edits.evaluation_set("edits", files, 100, tmp_path / "again")
    assert all(again.queries[name].read_bytes() == file.read_bytes() for name, file in one.queries.items())


def test_edits_are_what_their_names_say():
    picture, chance = noise(3, 320, 240), random.Random(0)
    made = {name: edit(picture, chance) for name, edit in edits.EDITS.items()}
    assert made["crop to 25%"].size == (160, 120)
    assert made["half size"].size == (160, 120)
    assert np.array_equal(np.asarray(made["mirror"]), np.asarray(picture)[:, ::-1])
    assert np.ptp(np.asarray(made["grey"]), axis=2).max() == 0
    assert np.asarray(made["brightness x0.7"]).mean() < np.asarray(picture).mean()
    assert made["turn 15"].width > picture.width
    assert np.array_equal(np.asarray(made["caption"])[:200], np.asarray(picture)[:200])


def test_a_crop_is_never_blank():
    sheet = Image.new("RGB", (400, 400), "white")
    sheet.paste(noise(1, 120, 120), (0, 0))
    for seed in range(20):
        assert np.asarray(edits.EDITS["crop to 25%"](sheet, random.Random(seed))).std() > 0


def resource_file(content: bytes) -> bytes:
    """A Qt resource file, version 1: a folder ``a`` with ``b.png``, stored as it is, and ``c.txt``, packed."""

    def name(text):
        return struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")

    packed = struct.pack(">I", 5) + zlib.compress(b"hello")
    names = name("a") + name("b.png") + name("c.txt")
    at_b, at_c = len(name("a")), len(name("a") + name("b.png"))
    data = struct.pack(">I", len(content)) + content + struct.pack(">I", len(packed)) + packed
    tree = struct.pack(">IHII", 0, 2, 1, 1) + struct.pack(">IHII", 0, 2, 2, 2)
    tree += struct.pack(">IHHHI", at_b, 0, 0, 0, 0) + struct.pack(">IHHHI", at_c, 1, 0, 0, 4 + len(content))
    header = 20
    offsets = header, header + len(tree), header + len(tree) + len(data)
    return b"qres" + struct.pack(">4I", 1, *offsets) + tree + data + names


def test_pictures_are_read_out_of_qt_resources(tmp_path):
    picture = encoded(noise(1), "PNG")
    (tmp_path / "x.rcc").write_bytes(resource_file(picture))
    assert dict(qt_resources.files(resource_file(picture))) == {"a/b.png": picture, "a/c.txt": b"hello"}
    qt_resources.unpack(tmp_path / "x.rcc", tmp_path / "x")
    assert [file.relative_to(tmp_path / "x").as_posix() for file in (tmp_path / "x").rglob("*.*")] == ["a/b.png"]
    with pytest.raises(InvalidInput, match="no Qt resource file"):
        dict(qt_resources.files(b"hello"))


def test_a_failed_download_leaves_nothing_and_its_error_is_quoted(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="npm is not installed"):
        fetch(SOURCES["fluent-emoji-3d"], tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
    failing = tmp_path / "apt-get"
    failing.write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2; exit 100\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(ConfigurationError, match="Unable to locate package"):
        fetch(PackageSource("no-such-package", (), "", ""), tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_an_unknown_package_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        fetch_command(["paintings"])
    assert "openclipart-png" in capsys.readouterr().err
