"""Check the outcome of every upload after the load has ended and nothing is pending."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.load import Collages, Upload
from tests.eventually import eventually_sync

REST_S = 240.0
JUDGE_S = 1800.0
TRIES = 3
SAME = 1e-4
"""Maximum score difference of results that show the same picture. Different collages score below 0.9."""


@dataclass(slots=True)
class Verdict:
    """``fates`` maps each accepted id to `indexed`, `rejected`, or a description of the fault."""

    fates: dict[int, str] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)
    rest_s: float | None = None
    """Seconds from the end of the load until nothing was pending; None if this never happened."""
    retried: int = 0
    """Number of checks that had to be retried."""


def at_rest(stats: dict[str, Any]) -> bool:
    images, stream = stats["images"], stats["stream"]
    return bool(images and stream and not images["pending"] and stream["lag"] == 0 and stream["pending"] == 0)


def rest(api: httpx.Client, verdict: Verdict) -> None:
    """Wait until nothing is pending, and record the last counts."""
    begin = time.monotonic()

    def rested() -> bool:
        verdict.stats = api.get("/stats").raise_for_status().json()
        rows = verdict.stats["collections"]
        return at_rest(verdict.stats) and bool(rows) and None not in rows.values()

    try:
        # The gateway was killed too, and may still be restarting.
        eventually_sync(rested, REST_S, every_s=0.5, errors=httpx.HTTPError)
    except (AssertionError, httpx.HTTPError):
        return  # the report says that there was no rest, and what the fates are nevertheless
    verdict.rest_s = time.monotonic() - begin


def judge(
    api: httpx.Client, collages: Collages, accepted: Sequence[Upload], verdict: Verdict, told: Callable[[int], None]
) -> None:
    """Check every accepted picture; call ``told`` with the number of finished checks."""
    end = time.monotonic() + JUDGE_S
    for done, upload in enumerate(accepted):
        if time.monotonic() > end:
            verdict.fates[upload.image_id] = "not asked after: no time left"
            continue
        try:
            verdict.fates[upload.image_id] = _fate(api, collages, upload, verdict)
        except httpx.HTTPError as error:
            verdict.fates[upload.image_id] = f"no answer: {error!r}"
        told(done + 1)


def _fate(api: httpx.Client, collages: Collages, upload: Upload, verdict: Verdict) -> str:
    facts = _asked(verdict, lambda: api.get(f"/images/{upload.image_id}"))
    if facts.status_code != 200:
        return f"GET /images gives {facts.status_code}"
    status = str(facts.json()["status"])
    if status != "indexed":
        return status if status == "rejected" else f"still {status}"
    files, form = {"image": collages.make(upload.number)}, {"k": "5", "near_duplicates": "keep"}
    answer = _asked(verdict, lambda: api.post("/search", files=files, data=form))
    if answer.status_code != 200:
        return f"POST /search gives {answer.status_code}"
    return _found(upload.image_id, answer.json()["results"])


def _found(image_id: int, results: list[dict[str, Any]]) -> str:
    """Return `indexed` if a search with the picture returns it first, once, and no other result has the same score."""
    ids = [hit["id"] for hit in results]
    if len(set(ids)) < len(ids):
        return f"an id comes twice: {ids}"
    if not ids or ids[0] != image_id:
        return f"not first: {[(hit['id'], round(hit['score'], 4)) for hit in results]}"
    twins = [hit["id"] for hit in results[1:] if hit["score"] > results[0]["score"] - SAME]
    return f"doubled as {twins}" if twins else "indexed"


def _asked(verdict: Verdict, call: Callable[[], httpx.Response]) -> httpx.Response:
    """Make a call, with retries if a server is unavailable. By now none should be, so retries are counted."""
    for _ in range(TRIES - 1):
        try:
            response = call()
        except httpx.HTTPError:
            response = None
        if response is not None and response.status_code < 500:
            return response
        verdict.retried += 1
        time.sleep(1)
    return call()
