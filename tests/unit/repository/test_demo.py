"""The demo corpus matches its provenance."""

import csv
import hashlib
from pathlib import Path

from visualsearch.imaging.preprocessing import dimensions, prepare

DEMO = Path(__file__).parents[3] / "demo"
with (DEMO / "provenance.csv").open(newline="") as stream:
    ROWS = list(csv.DictReader(stream))


def test_every_picture_has_a_provenance_and_is_the_very_file():
    files = {
        file.relative_to(DEMO).as_posix() for folder in ("pictures", "queries") for file in (DEMO / folder).rglob("*.*")
    }
    assert files == {row["file"] for row in ROWS}
    for row in ROWS:
        data = (DEMO / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"], row["file"]
        assert dimensions(data) == (int(row["width"]), int(row["height"])), row["file"]
        assert row["licence"] == "public domain"


def test_the_corpus_is_small_enough_to_ship_and_large_enough_to_show():
    pictures = [DEMO / row["file"] for row in ROWS if row["category"] != "query"]
    assert 800 <= len(pictures) <= 1000
    assert sum(file.stat().st_size for file in pictures) <= 12_000_000


def test_queries_are_not_in_the_corpus():
    originals = [row["original"] for row in ROWS]
    assert len(originals) == len(set(originals))


def test_near_duplicates_in_the_corpus_are_the_deliberate_ones():
    pairs = [(row["file"], row["near_duplicate_of"]) for row in ROWS if row["near_duplicate_of"]]
    assert len(pairs) == 20
    for one, other in pairs:
        hashes = [prepare((DEMO / name).read_bytes()).phash for name in (one, other)]
        assert (hashes[0] ^ hashes[1]).bit_count() <= 10, one
