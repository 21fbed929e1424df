"""Alarms and queries on a running stack, with a real Prometheus and a real Alertmanager."""

import json
import os
import re
import secrets
import signal
import time

import httpx
import psutil
import pytest
import yaml

from compose.prometheus_config import FOLDER
from compose.state import read_state
from tests.eventually import eventually_sync
from tests.integration.test_rest import search
from tests.pictures import jpeg
from tests.prometheus import watching

pytestmark = pytest.mark.stack

ELSEWHERE = {
    "nv_gpu_utilization": "Triton, where there is a GPU: https://github.com/triton-inference-server/server metrics.md",
    "nv_gpu_memory_used_bytes": "as above",
    "nv_gpu_memory_total_bytes": "as above",
    "kubelet_volume_stats_available_bytes": "the kubelet",
    "kubelet_volume_stats_capacity_bytes": "the kubelet",
    "certmanager_certificate_expiration_timestamp_seconds": "cert-manager",
}
"""Metrics that a stack without GPU and Kubernetes does not have, and who has them."""
WELL = 20
"""Searches in a row, each over a connection of its own, that were answered."""
QUIET = {
    "visualsearch_build_images",
    "visualsearch_differences",
    "visualsearch_certificate_expiry_timestamp_seconds",
    "visualsearch_recall_proxy",
    "visualsearch_canary_ratio",
    "visualsearch_shadow_ratio",
    "visualsearch_shadow_agreement_ratio",
    "visualsearch_canary_rollback_timestamp_seconds",
    "visualsearch_store_notices_total",
    "visualsearch_shed_requests_total",
    "SeaweedFS_s3_request_total",
    "SeaweedFS_s3_request_seconds",
    "milvus_proxy_sq_latency",
    "milvus_datacoord_segment_num",
}
"""Metrics of what may not have happened in a stack: their queries may answer with nothing."""


@pytest.fixture(scope="module")
def watch(running, demo_stack, tmp_path_factory):
    with watching(running, tmp_path_factory.mktemp("watch")) as watch:
        assert watch.until(lambda: len(watch.query("up == 1")) == 5), watch.query("up")
        yield watch


def names_in(expression):
    """Metrics that a query names."""
    bare = re.sub(r"\"[^\"]*\"", " ", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    found = re.findall(r"[a-zA-Z_][\w:]*(?!\w*\s*\()", bare)
    return set(found) - {"or", "and", "unless", "offset", "bool"}


def queries():
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])
    yield from on_dashboards()


def on_dashboards():
    for file in (FOLDER / "grafana" / "dashboards").glob("*.json"):
        for panel in json.loads(file.read_text())["panels"]:
            yield from (target["expr"] for target in panel["targets"])


def filled(expression):
    """A query as Grafana sends it."""
    return expression.replace("$__rate_interval", "1m").replace("$release", ".*")


def family(name):
    return re.sub(r"_(bucket|count|sum)$", "", name)


def test_every_query_names_existing_metrics(watch):
    there = {entry["metric"] for entry in watch.ask("targets/metadata")} | {"up"}
    there |= {f"{name}_total" for name in there}
    for expression in queries():
        for name in names_in(expression):
            assert {name, family(name)} & (there | ELSEWHERE.keys()), (name, expression)


def something_happens(api):
    """A search, a click on it, a mistake, an upload and its deletion."""
    answer = api.post("/search", files={"image": ("x.jpg", jpeg(5))}).json()
    click = {"query_image_id": answer["query_image_id"], "displayed_image_id": answer["results"][0]["id"], "rank": 1}
    assert api.post("/click", json={"user_id": 1, **click}).status_code == 204
    api.post("/search", files={"image": ("x.jpg", b"no picture")})
    uploaded = api.post("/images", files={"image": ("x.jpg", jpeg(secrets.randbits(30)))})
    path = uploaded.headers["location"]
    eventually_sync(lambda: api.get(path).json()["status"] != "pending")
    assert api.delete(path).status_code == 204


def without_data(watch):
    """Queries of dashboards that answer with nothing, though what they ask about has happened."""
    loud = [one for one in on_dashboards() if not {family(n) for n in names_in(one)} & (QUIET | ELSEWHERE.keys())]
    return [expression for expression in loud if not watch.query(filled(expression))]


def test_every_query_is_valid_and_returns_data_where_there_is_some(watch, api):
    for expression in queries():
        watch.query(filled(expression))
    # Twice, for a rate is the difference between two scrapes.
    assert watch.until(lambda: something_happens(api) or not without_data(watch), 30), without_data(watch)


def test_the_alarm_of_a_killed_server_fires_and_resolves_when_it_is_back(watch, running):
    down = ("ServerDown", "milvus")
    assert watch.until(lambda: not watch.firing()), watch.firing()
    supervisor = psutil.Process(read_state(running.home)["supervisor"]["pid"])
    supervisor.suspend()  # or it would start it again at once
    try:
        os.kill(json.loads(running.command("status", "--json").stdout)["milvus"]["pid"], signal.SIGKILL)
        assert watch.until(lambda: {down, ("TargetDown", "")} <= watch.firing()), watch.firing()
        assert not [alarm for alarm in watch.firing() if alarm[0] == "ServerDown" and alarm != down]
    finally:
        supervisor.resume()
    assert watch.until(lambda: not watch.firing()), watch.firing()
    until_ready(running)


def until_ready(running):
    """Leave the stack as it was found: every server ready, and every process of the gateway answering."""
    end = time.monotonic() + 90

    def ready():
        described = json.loads(running.command("status", "--json").stdout)
        return all(facts["ready"] for facts in described.values())

    eventually_sync(ready, within_s=90, every_s=0.5)
    well = 0
    while well < WELL:
        assert time.monotonic() < end
        with httpx.Client(base_url=running.settings().url, timeout=30) as fresh:  # any of the processes accepts it
            well = well + 1 if search(fresh, jpeg(5)).status_code == 200 else 0
