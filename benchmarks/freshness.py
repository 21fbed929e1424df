"""Time from an upload until a search finds it: `python -m benchmarks.freshness`, against a running stack.

Upload new pictures one after the other, first on an idle stack, then while two callers search continuously. Half of
them are searched for until they are found. The others are polled until their status is indexed, and the next search
must then find them.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from rich.progress import track

from benchmarks.indexing import make_pictures
from benchmarks.table import write
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE = (640, 480)
UPLOADS = 60
CALLERS = 2
LIMIT_S = 30.0


def search(api: httpx.Client, picture: bytes) -> set[int]:
    """Return the ids of all results of a search, including folded ones."""
    answer = api.post("/search", files={"image": picture}, data={"k": "10"}).raise_for_status().json()
    return {image for hit in answer["results"] for image in (hit["id"], *hit["near_duplicates"])}


def upload(api: httpx.Client, picture: bytes) -> int:
    """Upload a picture; return its id."""
    image: int = api.post("/images", files={"image": picture}).raise_for_status().json()["id"]
    return image


def searched_until_found(api: httpx.Client, picture: bytes) -> tuple[int, float]:
    """Upload a picture; return its id, and the seconds from the response until a search finds it."""
    image = upload(api, picture)
    begin = time.perf_counter()
    while image not in search(api, picture):
        assert time.perf_counter() - begin < LIMIT_S, f"image {image} was not found within {LIMIT_S} s"
    return image, time.perf_counter() - begin


def waited_for(api: httpx.Client, picture: bytes) -> tuple[int, float, bool]:
    """Upload a picture; return its id, seconds until its status is indexed, and whether the next search finds it."""
    image = upload(api, picture)
    begin = time.perf_counter()
    status: dict[str, Any] = api.get(f"/images/{image}", params={"wait_s": LIMIT_S}).raise_for_status().json()
    taken = time.perf_counter() - begin
    assert status["status"] == "indexed", status
    return image, taken, image in search(api, picture)


def measured(url: str, pictures: Sequence[bytes], callers: int) -> tuple[object, ...]:
    """Upload pictures while this number of callers search; return a row of the table."""
    stop = threading.Event()

    def searches() -> None:
        with httpx.Client(base_url=url, timeout=LIMIT_S) as api:
            while not stop.is_set():
                api.post("/search", files={"image": pictures[0]})

    others = [threading.Thread(target=searches) for _ in range(callers)]
    for other in others:
        other.start()
    found, indexed, next_found = [], [], 0
    try:
        with httpx.Client(base_url=url, timeout=2 * LIMIT_S) as api:
            for number, picture in enumerate(track(pictures, f"uploading beside {callers} callers")):
                if number % 2:
                    image, taken = searched_until_found(api, picture)
                    found.append(taken)
                else:
                    image, taken, at_once = waited_for(api, picture)
                    indexed.append(taken)
                    next_found += at_once
                api.delete(f"/images/{image}").raise_for_status()
    finally:
        stop.set()
        for other in others:
            other.join()
    times = [f"{np.percentile(column, part):.2f}" for column in (found, indexed) for part in (50, 95, 100)]
    return (f"{callers} callers" if callers else "nobody else", *times, f"{next_found} of {len(indexed)}")


def main() -> None:
    """Measure and write the table."""
    url = Settings.load().url
    with tempfile.TemporaryDirectory() as folder:
        pictures = [file.read_bytes() for file in make_pictures(Path(folder), SIZE, 2 * UPLOADS)]
    rows = [measured(url, part, callers) for part, callers in ((pictures[:UPLOADS], 0), (pictures[UPLOADS:], CALLERS))]
    note = (
        f"{UPLOADS} uploads of {SIZE[0]} x {SIZE[1]} in each row, one after the other; seconds from the answer 202. "
        "A search that looks for an upload takes the machine's time too. The last column counts those that the first "
        "search after `indexed` has found."
    )
    heading = ("beside", *(f"{what}, {part}" for what in ("found", "indexed") for part in ("p50", "p95", "most")))
    write(
        "freshness",
        "How soon an upload is found",
        "python -m benchmarks.freshness",
        (*heading, "found at once"),
        rows,
        note,
    )


if __name__ == "__main__":
    main()
