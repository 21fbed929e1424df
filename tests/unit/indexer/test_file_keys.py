"""Keys for the names of files."""

import os
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from indexer.sources.file_keys import key_below, key_step
from visualsearch.domain.object_keys import canonical_key

BYTES = st.binary(min_size=1, max_size=40).filter(
    lambda raw: not {0, 0x2F}.intersection(raw) and raw not in (b".", b"..")
)
NAMES = BYTES.map(os.fsdecode) | BYTES.map(os.fsdecode).map(lambda name: key_step(name))


@given(NAMES)
def test_every_name_has_a_step_that_a_key_can_have(name):
    assert canonical_key(f"folder/{key_step(name)}")


@given(st.lists(NAMES, min_size=2, max_size=6, unique=True))
def test_different_names_have_different_steps(names):
    assert len({key_step(name) for name in names}) == len(names)


def test_a_name_that_a_key_can_have_stays_as_it_is():
    for name in ("a b.jpg", "ü%20#?.jpg", "e\u0301.jpg", ".x", "100%", "IMG~1.JPG", "née & co [1].png", "trailing. "):
        assert key_step(name) == name


def test_the_step_of_any_other_name_can_be_read():
    assert key_step("back\\slash.jpg").startswith("back_slash~")
    assert key_step("back\\slash.jpg").endswith(".jpg")
    assert key_step("line\nbreak").startswith("line_break~")
    assert key_step(os.fsdecode(b"caf\xe9.png")).startswith("caf_~")


def test_each_step_of_a_path_is_translated():
    key = key_below("album/", PurePosixPath("a/b\\c/d.jpg"))
    assert key.startswith("album/a/b_c~")
    assert key.endswith("/d.jpg")
