"""Pictures that cost much: judged before they are decoded, and decoded where they can be stopped."""

import asyncio
import os
import re
import signal
import time
from io import BytesIO

import pytest
from PIL import Image

from tests.eventually import eventually
from tests.pictures import jpeg
from visualsearch.domain.errors import BrokenImage, Overloaded
from visualsearch.imaging import picture_pool
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


# In modules of the tests' own they could not be sent to another process.
def pid_of(_data):
    return os.getpid()


def slow(_data):
    time.sleep(60)


def killed(_data):
    os.kill(os.getpid(), signal.SIGKILL)


def greedy(_data):
    return len(bytearray(4 * 2**30))


@pytest.fixture(scope="module")
def lossless():
    """17 megapixels in a kilobyte."""
    data = saved("WEBP", side=4100, lossless=True)
    assert len(data) < 3000
    return data


@pytest.fixture
def pool():
    with PicturePool(2) as pool:
        yield pool


async def test_a_jpeg_with_hundreds_of_scans_is_refused_before_it_is_decoded(pool):
    data = with_scans(200)
    assert len(data) < 300_000
    for work in (decode, prepare):
        with pytest.raises(BrokenImage, match=r"200 scans of 7000x7000 pixels\. Save it as a baseline JPEG"):
            await asyncio.wait_for(pool.run(work, data), 1)
    with pytest.raises(BrokenImage, match="200 scans"):
        dimensions(data)


async def test_an_ordinary_progressive_jpeg_of_the_largest_size_is_taken(pool):
    decoded = await pool.run(decode, saved("JPEG", progressive=True))
    assert (decoded.width, decoded.height) == (HUGE, HUGE)


async def test_a_cheap_picture_is_decoded_in_this_process(pool):
    assert await pool.run(pid_of, jpeg(1)) == os.getpid()
    assert (await pool.run(decode, jpeg(1))).width == 320


async def test_an_expensive_picture_gives_the_same_in_its_process(pool, lossless):
    assert (await pool.run(decode, lossless)).pixels.tolist() == decode(lossless).pixels.tolist()
    assert await pool.run(thumbnail, lossless, 64) == thumbnail(lossless, 64)


@pytest.mark.parametrize(
    ("work", "reason"), [(killed, "died of it"), (slow, "took too long"), (greedy, "needed too much memory")]
)
async def test_a_picture_that_ends_its_process_is_refused_and_the_next_is_decoded(pool, monkeypatch, work, reason):
    await pool.run_apart(pid_of, b"")  # the process is there
    monkeypatch.setattr(picture_pool, "TIMEOUT_S", 1.0)
    with pytest.raises(BrokenImage, match=reason):
        await pool.run_apart(work, b"")
    monkeypatch.undo()
    assert await pool.run_apart(pid_of, b"") != os.getpid()


async def test_expensive_pictures_wait_in_a_short_queue_and_cheap_ones_pass_them(pool, lossless):
    waiting = [asyncio.create_task(pool.run(decode, lossless)) for _ in range(picture_pool.WAITING)]
    await eventually(lambda: pool.expensive == picture_pool.WAITING)
    with pytest.raises(Overloaded):
        await pool.run(decode, lossless)
    assert (await pool.run(decode, jpeg(1))).width == 320
    assert not any(task.done() for task in waiting[2:])
    await asyncio.gather(*waiting)
