"""Pictures that cost much: judged before they are decoded, and decoded where they can be stopped."""

import asyncio
import contextlib
import os
import re
import signal
import threading
import time
from io import BytesIO

import psutil
import pytest
from PIL import Image

from tests.eventually import eventually
from tests.fuzz.pictures.formats import riff, riff_chunk
from tests.pictures import jpeg
from visualsearch.domain.errors import BrokenImage, Overloaded
from visualsearch.imaging import opening, picture_pool
from visualsearch.imaging.decoding_cost import TooExpensiveHere
from visualsearch.imaging.formats import jpeg as jpeg_format
from visualsearch.imaging.opening import cheaply
from visualsearch.imaging.picture_pool import PicturePool
from visualsearch.imaging.preprocessing import decode, dimensions, prepare, thumbnail

HUGE = 7000


def saved(kind, side=HUGE, mode="RGB", **options):
    out = BytesIO()
    Image.new(mode, (side, side), 128).save(out, kind, **options)
    return out.getvalue()


def with_scans(number):
    """A progressive JPEG whose last scan is repeated: each repetition costs a pass over all pixels, and few bytes."""
    data = saved("JPEG", mode="L", progressive=True)
    starts = [found.start() for found in re.finditer(b"\xff\xda", data)]
    return data[:-2] + data[starts[-1] : -2] * (number - len(starts)) + data[-2:]


def with_empty_scans(number):
    """A sequential JPEG of three components, the first of which has ``number`` scans more: each has ten bytes and no
    data, and costs a pass over all pixels."""
    data = saved("JPEG", mode="L")
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    components = b"".join(bytes([name, 0x11, 0]) for name in (1, 2, 3))
    header = data[:frame] + b"\xff\xc0\x00\x11" + data[frame + 4 : frame + 9] + b"\x03" + components
    tables, pixels = data[frame + 13 : scan], data[scan + 10 : -2]

    def scan_of(name):
        return b"\xff\xda\x00\x08\x01" + bytes([name, 0, 0, 63, 0])

    whole = b"".join(scan_of(name) + pixels for name in (1, 2, 3))
    return header + tables + whole + scan_of(1) * number + b"\xff\xd9"


def without_pixels():
    """The header of a lossless WebP of 49 megapixels."""
    return riff(riff_chunk(b"VP8L", b"\x2f" + ((HUGE - 1) * (1 + 2**14)).to_bytes(4, "little") + bytes(50)))


# In modules of the tests' own they could not be sent to another process.
def pid_of(_data):
    return os.getpid()


def slow(_data):
    time.sleep(60)


def busy(_data):
    while True:
        pass


def killed(_data):
    os.kill(os.getpid(), signal.SIGKILL)


def greedy(_data):
    return len(bytearray(4 * 2**30))


def priority_of(data, done):
    """Open a picture; return the priority of the thread, when others are done."""
    dimensions(data)
    assert done.wait(10)
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.fixture(scope="module")
def lossless():
    """17 megapixels in a kilobyte."""
    data = saved("WEBP", side=4100, lossless=True)
    assert len(data) < 3000
    return data


@pytest.fixture
def pool():
    with PicturePool(2, picture_pool.WAITING, timeout_s=60) as pool:  # however busy the machine is
        yield pool


async def test_a_jpeg_with_hundreds_of_scans_is_refused_before_it_is_decoded(pool):
    data = with_scans(200)
    assert len(data) < 300_000
    for work in (decode, prepare):
        with pytest.raises(BrokenImage, match=r"200 scans of 7000x7000 pixels\. Save it as a baseline JPEG"):
            await asyncio.wait_for(pool.run(work, data), 1)
    with pytest.raises(BrokenImage, match="200 scans"):
        dimensions(data)


async def test_a_sequential_jpeg_with_hundreds_of_scans_is_refused_as_a_progressive_one_is(pool):
    assert (await pool.run(decode, with_empty_scans(0))).width == HUGE
    with pytest.raises(BrokenImage, match="203 scans"):
        await pool.run(decode, with_empty_scans(200))


@pytest.mark.parametrize("unusual", [b"\xff\xda" * 2000, b"\xff\xda\x00\x08" * 2000], ids=["preview", "video"])
def test_what_is_before_or_after_the_picture_in_its_file_is_no_scan(unusual):
    data = jpeg(1)
    comment = b"\xff\xfe" + (len(unusual) + 2).to_bytes(2, "big") + unusual
    assert jpeg_format.inspect(data[:2] + comment + data[2:] + unusual).scans == 1


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * 60_000 + jpeg(1)[2:],
        jpeg(1)[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 60_000 + b"\xff\xd9",
        b"\xff\xd8" + b"\xff" * 60_000,
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0teXt\0\0\0\0" * 60_000,
    ],
    ids=["segments", "scans", "fill bytes", "chunks"],
)
def test_a_file_of_countless_segments_is_refused_before_its_header_is_read(data, monkeypatch):
    monkeypatch.delattr(Image, "open")
    with pytest.raises(BrokenImage, match="segments"):
        decode(data)


async def test_an_ordinary_progressive_jpeg_of_the_largest_size_is_taken(pool):
    decoded = await pool.run(decode, saved("JPEG", progressive=True))
    assert (decoded.width, decoded.height) == (HUGE, HUGE)


async def test_a_cheap_picture_is_decoded_in_this_process(pool):
    assert await pool.run(pid_of, jpeg(1)) == os.getpid()
    assert (await pool.run(decode, jpeg(1))).width == 320


def with_one_scan():
    """The header of a progressive JPEG that has one scan, without its data."""
    data = saved("JPEG", progressive=True)
    return data[: data.index(b"\xff\xda")] + b"\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\0\0\xff\xd9"


@pytest.mark.parametrize(
    "made",
    [
        lambda: saved("PNG", side=5000, mode="RGBA"),
        lambda: saved("WEBP", side=3900, lossless=True),
        with_one_scan,
    ],
    ids=["png", "webp", "progressive jpeg of one scan"],
)
def test_a_picture_that_takes_much_memory_is_not_decoded_in_a_thread(made):
    with pytest.raises(TooExpensiveHere):
        cheaply(dimensions, made())


@pytest.mark.parametrize(("kind", "side"), [("JPEG", HUGE), ("PNG", 2880), ("WEBP", 2880)])
def test_photos_and_screenshots_in_4k_are_decoded_in_a_thread(kind, side):
    assert cheaply(dimensions, saved(kind, side)) == (side, side)


async def test_an_expensive_picture_gives_the_same_in_its_process(pool, lossless):
    assert (await pool.run(decode, lossless)).pixels.tolist() == decode(lossless).pixels.tolist()
    assert await pool.run(thumbnail, lossless, 64) == thumbnail(lossless, 64)


@pytest.mark.parametrize(
    ("work", "reason"), [(killed, "died of it"), (busy, "took too long"), (greedy, "needed too much memory")]
)
async def test_a_picture_that_ends_its_process_is_refused_and_the_next_is_decoded(pool, monkeypatch, work, reason):
    monkeypatch.setattr(picture_pool, "CPU_S", 1)
    with pytest.raises(BrokenImage, match=reason):
        await pool.run_apart(work, b"")
    assert await pool.run_apart(pid_of, b"") != os.getpid()


async def test_a_picture_that_waits_for_a_busy_machine_is_not_taken_for_a_bad_one():
    with PicturePool(2, timeout_s=1.0) as pool:
        with pytest.raises(Overloaded, match="busy"):
            await pool.run_apart(slow, b"")
        assert await pool.run_apart(pid_of, b"") != os.getpid()


async def test_the_process_keeps_no_memory_of_a_picture_that_it_has_decoded_or_refused(pool, lossless):
    process = psutil.Process(await pool.run_apart(pid_of, b""))
    for data in (lossless, lossless, saved("PNG", side=4100), lossless, without_pixels()):
        with contextlib.suppress(BrokenImage):
            await pool.run(prepare, data)
        assert process.memory_info().rss < 150 * 2**20


async def test_expensive_pictures_wait_in_a_short_queue_and_cheap_ones_pass_them(pool, lossless):
    waiting = [asyncio.create_task(pool.run(decode, lossless)) for _ in range(picture_pool.WAITING)]
    await eventually(lambda: pool.expensive == picture_pool.WAITING)
    with pytest.raises(Overloaded):
        await pool.run(decode, lossless)
    assert (await pool.run(decode, jpeg(1))).width == 320
    assert not any(task.done() for task in waiting[2:])
    await asyncio.gather(*waiting)


async def test_small_pictures_do_not_wait_for_large_ones_that_a_thread_decodes_with_lower_priority():
    with PicturePool(1, picture_pool.WAITING) as pool:
        done = threading.Event()
        large = [asyncio.create_task(pool.run(priority_of, saved("JPEG"), done)) for _ in range(2)]
        assert (await pool.run(decode, jpeg(1))).width == 320
        assert not any(one.done() for one in large)
        done.set()
        assert set(await asyncio.gather(*large)) == {os.getpriority(os.PRIO_PROCESS, 0) + picture_pool.NICE}


async def test_whoever_waits_for_others_pictures_is_told_in_time_to_come_again():
    with PicturePool(2, picture_pool.WAITING, timeout_s=2.0) as pool:
        begun = time.monotonic()
        waiting = [pool.run_apart(slow, b"") for _ in range(picture_pool.WAITING)]
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert time.monotonic() - begun < 8
        assert {type(end) for end in ends} == {Overloaded}
        # The process is started anew, which may take longer than 2 s.
        assert await eventually(lambda: pool.run_apart(pid_of, b""), errors=(Overloaded,)) != os.getpid()


async def test_any_number_waits_where_nobody_can_be_asked_to_come_again(monkeypatch):
    monkeypatch.setattr(opening, "CHEAP", 0)
    with PicturePool(2) as pool:
        decoded = await asyncio.gather(*(pool.run(decode, jpeg(1)) for _ in range(3 * picture_pool.WAITING)))
    assert {one.width for one in decoded} == {320}
