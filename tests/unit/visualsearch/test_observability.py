"""The metrics: names, labels, and that their number does not depend on requests."""

import asyncio
import re
import shutil
import subprocess
import urllib.request
from datetime import UTC, datetime

import pytest

from tests.conftest import missing
from tests.pictures import jpeg
from tests.unit.serving import Serving
from visualsearch.domain.errors import ConfigurationError
from visualsearch.domain.release_state import Action, Transition
from visualsearch.observability.host_metrics import HostMetrics
from visualsearch.observability.metrics import serve_metrics
from visualsearch.settings import ROOT


@pytest.fixture
async def serving():
    async with Serving() as serving:
        yield serving


async def metrics(serving):
    return (await serving.client.get("/metrics")).text


async def test_every_stage_of_a_search_is_measured_by_release(serving):
    await serving.index(jpeg(1))
    await serving.search(jpeg(1), k="1")
    text = await metrics(serving)
    for stage in ("decode", "embed", "ann", "rescore", "rank", "total"):
        assert f'visualsearch_search_stage_seconds_bucket{{le="+Inf",release="v1",stage="{stage}",variant=""}}' in text


async def test_the_metrics_distinguish_servers_that_are_down_from_those_that_are_up(serving):
    serving.vectors.down = True
    text = await metrics(serving)
    assert 'visualsearch_server_up{server="milvus"} 0.0' in text
    assert 'visualsearch_server_up{server="triton"} 1.0' in text


async def test_unavailable_counts_are_left_out_instead_of_showing_old_values(serving):
    assert "visualsearch_images{" in await metrics(serving)
    serving.image_repository.down = True
    assert "visualsearch_images{" not in await metrics(serving)


async def test_errors_are_counted_by_their_kind(serving):
    await serving.search(b"no picture")
    assert 'visualsearch_errors_total{kind="UnsupportedImage"}' in await metrics(serving)


async def test_unknown_methods_and_routes_share_one_label(serving):
    for number in range(3):
        await serving.client.request(f"METHOD{number}", f"/nowhere/{number}")
    text = await metrics(serving)
    assert 'visualsearch_requests_total{method="other",route="none",status="404"}' in text
    assert "METHOD" not in text
    assert "nowhere" not in text


async def test_promtool_accepts_our_metrics(serving):
    promtool = shutil.which("promtool") or missing("promtool, of the Debian package prometheus,")
    await serving.index(jpeg(1))
    await serving.search(jpeg(1), k="1")
    text = await metrics(serving)
    words = [promtool, "check", "metrics"]
    checked = await asyncio.to_thread(subprocess.run, words, input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert not checked.stderr


def test_a_process_without_http_serves_its_metrics_on_a_port_of_its_own(unused_tcp_port):
    with serve_metrics("127.0.0.1", unused_tcp_port):
        address = f"http://127.0.0.1:{unused_tcp_port}/metrics"
        with urllib.request.urlopen(address, timeout=5) as answer:
            assert b"visualsearch_index_events_total" in answer.read()
        with (
            pytest.raises(ConfigurationError, match=str(unused_tcp_port)),
            serve_metrics("127.0.0.1", unused_tcp_port),
        ):
            pass


async def test_the_metrics_contain_the_states_of_releases(serving):
    text = await metrics(serving)
    assert 'visualsearch_release_info{model_version="1",profile="hnsw",release="v1",state="live"} 1.0' in text


async def test_the_metrics_contain_the_time_of_a_rollback_of_a_canary(serving):
    at = datetime(2030, 1, 1, tzinfo=UTC)
    await serving.release_repository.record(Transition(at, "v2", "gate", Action.ROLLBACK, "canary", "ready"))
    await serving.release_repository.record(Transition(at, "v1", "somebody", Action.ROLLBACK, "live", "ready"))
    text = await metrics(serving)
    (told,) = re.findall(r'visualsearch_canary_rollback_timestamp_seconds{release="v2"} (.*)', text)
    assert float(told) == at.timestamp()
    assert 'rollback_timestamp_seconds{release="v1"}' not in text


async def test_every_metric_is_documented(serving):
    page = (ROOT / "docs" / "operations.md").read_text()
    names = re.findall(r"^# TYPE visualsearch_(\S+)", await metrics(serving), re.MULTILINE)
    assert names
    for name in names:
        assert f"`{name}`" in page, name
    for family in HostMetrics(ROOT, ()).collect():
        assert f"`{family.name.removeprefix('visualsearch_')}`" in page
