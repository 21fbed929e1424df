"""Hostile files hurt nothing: a short run of what `make fuzz` runs for long, and the kinds that once did."""

import subprocess
import sys
import time

import pytest

from tests.fuzz.pictures import crafted_jpegs, crafted_pngs
from tests.fuzz.pictures.corpus import CRAFTED, hostile_file
from tests.fuzz.pictures.formats import Part, chunks, png_of, segment
from tests.fuzz.rest import ROOT
from tests.pictures import encoded, jpeg, noise
from visualsearch.domain.errors import BrokenImage
from visualsearch.imaging.formats.jpeg import MAX_EXIF_PARTS
from visualsearch.imaging.preprocessing import decode, prepare, thumbnail

QUICK = ("--files=600", "--seed=16", "--quick")


def test_nothing_is_found_in_the_first_files_of_a_seed(tmp_path):
    command = [sys.executable, "-m", "tests.fuzz.pictures", *QUICK, f"--out={tmp_path}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "600 files" in run.stdout


def test_a_file_of_a_seed_is_always_the_same():
    for number in (*range(0, len(CRAFTED), 10), *range(1000, 1100)):
        assert hostile_file(7, number) == hostile_file(7, number)
    assert hostile_file(7, 1000) != hostile_file(8, 1000)


def exif(parts: int) -> bytes:
    return crafted_jpegs.before(jpeg(1), *[segment(0xE1, b"Exif\0\0" + bytes(380))] * parts)


def texts(number: int) -> bytes:
    """Texts of which each is unpacked up to 1 MB, and then found to be damaged."""
    return crafted_pngs.small(*[crafted_pngs.damaged_text(1_000_000)] * number)


def test_exif_that_takes_minutes_to_read_is_refused_at_once():
    assert decode(exif(MAX_EXIF_PARTS)).width
    for number in (MAX_EXIF_PARTS + 1, 10_000):
        data, begun = exif(number), time.process_time()
        with pytest.raises(BrokenImage, match="of EXIF"):
            decode(data)
        assert time.process_time() - begun < 0.2


def test_texts_that_take_minutes_to_unpack_are_skipped_at_once():
    data, begun = texts(10_000), time.process_time()
    assert decode(data).width
    assert time.process_time() - begun < 0.2


@pytest.mark.parametrize("use", [decode, prepare, lambda data: thumbnail(data, 64)])
def test_damaged_rows_are_not_taken_for_damaged_exif(use):
    """Their checksum is right, so the picture was accepted with black in place of its lower half."""
    whole = chunks(encoded(noise(1), "PNG"))
    damaged = [Part(one.kind, one.data[: len(one.data) // 2] + bytes(60)) for one in whole if one.kind == b"IDAT"]
    with pytest.raises(BrokenImage, match="damaged"):
        use(png_of([whole[0], *damaged, whole[-1]]))


def test_a_profile_whose_pieces_are_missing_is_ignored():
    data = crafted_jpegs.profile_pieces(3, b"piece", told=9)
    assert decode(data).pixels.tolist() == decode(jpeg(1)).pixels.tolist()


def test_damaged_exif_fills_no_log_not_even_where_everything_is_logged():
    words = (
        "from tests.fuzz.pictures.crafted_jpegs import exif_bomb; "
        "from visualsearch.imaging.preprocessing import decode; "
        "from visualsearch.observability.metrics import configure_logging; "
        "configure_logging('DEBUG', 'json'); decode(exif_bomb(60_000))"
    )
    run = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")
