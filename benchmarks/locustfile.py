"""Search at a fixed rate (open loop), or with callers that search one after the other; run in Locust by load.py.

Locust's users form an open loop if the time between two searches of a user is longer than any response takes. Then no
user is still waiting when the next search is due, and the number of users determines the rate.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant, events, task

PACE_S = 4.0
"""Time between two searches of a user. It exceeds the gateway's deadline of 1.8 s, within which it always responds."""
WORDS: dict[str, Any] = json.loads(os.environ["VISUALSEARCH_LOAD"])
FORMS = itertools.cycle([Path(file).read_bytes() for file in WORDS["forms"]])
NUMBERS = itertools.count()
OPEN = bool(WORDS["rate"])
OK = 200

times: dict[int, list[float]] = defaultdict(list)
begun = {"requests": 0, "at": 0.0, "cpu": 0.0}


class SearchUser(FastHttpUser):
    """A user who searches."""

    host = WORDS["url"]
    wait_time = constant(0)
    connection_timeout = network_timeout = 10.0

    def on_start(self) -> None:
        """Give each user its own offset within the interval, so that searches are evenly spaced."""
        self._due = begun["at"] + PACE_S * next(NUMBERS) / WORDS["users"]

    @task
    def search(self) -> None:
        """Search once. In a closed loop, wait after a refusal."""
        if OPEN:
            gevent.sleep(max(0.0, self._due - time.monotonic()))
            self._due += PACE_S
        if time.monotonic() > begun["at"] + WORDS["seconds"]:
            return
        begun["requests"] += 1
        headers = {"Content-Type": WORDS["type"]}
        with self.client.post("/search", next(FORMS), headers=headers, catch_response=True) as answer:
            answer.success()  # a refusal is a response too; responses are counted by status
        if not OPEN and answer.status_code != OK:
            gevent.sleep(0.5)


@events.test_start.add_listener
def begin(**_: object) -> None:
    """Start counting."""
    begun.update(at=time.monotonic(), cpu=time.process_time())


@events.request.add_listener
def seen(response_time: float, response: Any = None, **_: object) -> None:  # noqa: ANN401 - Locust's
    """Count a response by its status; 0 means no response."""
    if time.monotonic() <= begun["at"] + WORDS["seconds"]:
        times[getattr(response, "status_code", 0) or 0].append(response_time)


@events.quitting.add_listener
def end(**_: object) -> None:
    """Write the counts."""
    told = {"times": times, "requests": begun["requests"], "cpu_s": time.process_time() - begun["cpu"]}
    Path(WORDS["summary"]).write_text(json.dumps(told))
