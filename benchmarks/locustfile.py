"""Searches at a fixed rate, whatever comes back, or by callers who ask one after the other; run in Locust by load.py.

Locust's users make an open loop when each asks once in a time that is longer than any answer takes: then nobody waits
for an answer before the next search is due, and so many users make so high a rate.
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
"""One user's time from search to search: the gateway answers or refuses within its deadline of 1.8 s."""
WORDS: dict[str, Any] = json.loads(os.environ["VISUALSEARCH_LOAD"])
FORMS = itertools.cycle([Path(file).read_bytes() for file in WORDS["forms"]])
NUMBERS = itertools.count()
OPEN = bool(WORDS["rate"])
OK = 200

times: dict[int, list[float]] = defaultdict(list)
begun = {"requests": 0, "at": 0.0, "cpu": 0.0}


class Caller(FastHttpUser):
    """Somebody who searches."""

    host = WORDS["url"]
    wait_time = constant(0)
    connection_timeout = network_timeout = 10.0

    def on_start(self) -> None:
        """Give each user its own moment of the pace, so that searches come evenly."""
        self._due = begun["at"] + PACE_S * next(NUMBERS) / WORDS["users"]

    @task
    def search(self) -> None:
        """Search once; whoever is refused in a closed loop comes again later."""
        if OPEN:
            gevent.sleep(max(0.0, self._due - time.monotonic()))
            self._due += PACE_S
        if time.monotonic() > begun["at"] + WORDS["seconds"]:
            return
        begun["requests"] += 1
        headers = {"Content-Type": WORDS["type"]}
        with self.client.post("/search", next(FORMS), headers=headers, catch_response=True) as answer:
            answer.success()  # a refusal is an answer too: what came is counted by its status
        if not OPEN and answer.status_code != OK:
            gevent.sleep(0.5)


@events.test_start.add_listener
def begin(**_: object) -> None:
    """Begin to count."""
    begun.update(at=time.monotonic(), cpu=time.process_time())


@events.request.add_listener
def seen(response_time: float, response: Any = None, **_: object) -> None:  # noqa: ANN401 - Locust's
    """Count an answer by its status; 0 is none at all."""
    if time.monotonic() <= begun["at"] + WORDS["seconds"]:
        times[getattr(response, "status_code", 0) or 0].append(response_time)


@events.quitting.add_listener
def end(**_: object) -> None:
    """Write what came."""
    told = {"times": times, "requests": begun["requests"], "cpu_s": time.process_time() - begun["cpu"]}
    Path(WORDS["summary"]).write_text(json.dumps(told))
