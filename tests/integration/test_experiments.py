"""An experiment from its definition to its report, on the real servers."""

import json
import time
import uuid
from collections import Counter

import numpy as np
import pytest

from tests.eventually import eventually_sync
from tests.integration.test_rest import indexed, jpeg

pytestmark = pytest.mark.stack

USERS, SEARCHES, K = 140, 1, 4
CLICKING = {"a": 0.15, "b": 0.8}
"""How likely a user is to click the first result, by variant."""


@pytest.fixture
def experiment(running):
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    command = ["create", name, "--variant", "a", "--variant", "b:candidates=300", "--layer", name, "--expect", "0.5"]
    for words in (command, ["start", name]):
        done = running.command("experiment", *words)
        assert done.returncode == 0, done.stderr
    assert "running" in done.stdout
    time.sleep(1.2)  # until every process of the gateway knows
    yield name
    assert running.command("experiment", "stop", name).returncode == 0


def traffic(api, name):
    """Search as many users, click as their variant has it; return what was seen: (users, impressions, clicks)."""
    rng = np.random.default_rng(5)
    users, shown, clicks = Counter(), Counter(), Counter()
    for user in range(10**6, 10**6 + USERS):
        seen = set()
        for _ in range(SEARCHES):
            answer = api.post("/search", files={"image": jpeg(1081)}, data={"k": K, "user_id": user}).json()
            variant, hits = answer["experiments"][name], answer["results"]
            seen.add(variant)
            shown[variant] += len(hits)
            if rng.random() < CLICKING[variant]:
                told = {"query_image_id": answer["query_image_id"], "displayed_image_id": hits[0]["id"], "rank": 1}
                for _ in range(2):  # twice on the same result is one result clicked
                    assert api.post("/click", json={**told, "user_id": user}).status_code == 204
                clicks[variant] += 1
        assert len(seen) == 1
        users.update(seen)
    return {variant: (users[variant], shown[variant], clicks[variant]) for variant in "ab"}


def test_the_better_of_two_variants_is_found_with_the_right_numbers(running, api, experiment, tmp_path):
    indexed(api, jpeg(1081))
    seen = traffic(api, experiment)

    def counted():
        done = running.command("experiment", "report", experiment, "--json")
        assert done.returncode == 0, done.stderr
        arms = json.loads(done.stdout)["looks"][-1]["arms"]
        return {name: (arm["units"], arm["shown"], arm["clicks"]) for name, arm in zip("ab", arms, strict=True)}

    eventually_sync(lambda: counted() == seen)
    plot = tmp_path / "plot.png"
    done = running.command("experiment", "report", experiment, "--json", "--plot", str(plot))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    arms = report["looks"][-1]["arms"]
    assert {name: (arm["units"], arm["shown"], arm["clicks"]) for name, arm in zip("ab", arms, strict=True)} == seen
    assert "b is better than a" in report["verdict"][0]
    assert report["srm_p"] > 0.001
    assert plot.stat().st_size > 10_000
    shown = running.command("experiment", "report", experiment)
    assert f"{seen['b'][2]:,}" in shown.stdout


def test_an_impossible_report_or_definition_gives_a_one_sentence_error(running):
    for words in (["report", "no-such"], ["create", "x", "--variant", "a"]):
        done = running.command("experiment", *words)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
