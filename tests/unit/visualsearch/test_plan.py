"""The capacity plan: its arithmetic, its command, and figures that match the measurements."""

import re

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.plan import count
from tests.server_binaries import ROOT
from visualsearch import capacity_plan as figures
from visualsearch.capacity_plan import CapacityPlan, Shape
from visualsearch.domain.errors import InvalidInput

RESULTS = ROOT / "benchmarks" / "results"
DECADES = [10**exponent for exponent in range(5, 12)]
DRIFT = 2.0
"""A result made anew on a busy or another machine may differ by so much before a plan is made of old figures."""


def test_a_million_images_by_hand():
    plan = CapacityPlan(1_000_000, 100, Shape(node_gb=32, node_cores=8, replicas=2))
    assert plan.loaded_gb == pytest.approx(0.125)
    assert plan.segments == 1
    assert plan.codes_compared == pytest.approx(1_000_000 * 64 / 4000)
    scan = 16_000 / figures.CODES_PER_CPU_S * 1000
    assert plan.search_cpu_ms == pytest.approx(figures.SCAN_BASE_MS + figures.SEGMENT_CPU_MS + scan)
    assert plan.query_nodes == 2
    assert plan.node_disk_gb == pytest.approx(1.024)
    assert plan.postgres_parts == 1


def test_memory_decides_for_a_large_corpus_and_cpu_for_many_searches():
    large, busy = CapacityPlan(10**10, 1, Shape()), CapacityPlan(10**6, 10_000, Shape())
    assert large.query_nodes == 2 * -(-large.loaded_gb // (32 * 0.9))
    assert busy.query_nodes > CapacityPlan(10**6, 10, Shape()).query_nodes
    assert busy.query_nodes * 8 * figures.BUSY >= 10_000 * busy.search_cpu_ms / 1000


@pytest.mark.parametrize(
    "need",
    [
        "loaded_gb",
        "query_nodes",
        "triton_cpu_pods",
        "gateways",
        "indexers",
        "postgres_gb",
        "store_gb",
        "postgres_parts",
    ],
)
def test_more_images_or_searches_never_need_less(need):
    by_images = [getattr(CapacityPlan(images, 50, Shape()), need) for images in DECADES]
    by_load = [getattr(CapacityPlan(10**7, qps, Shape()), need) for qps in (1, 10, 100, 1000)]
    assert by_images == sorted(by_images)
    assert by_load == sorted(by_load)


def test_cards_are_planned_only_by_a_rate_that_was_measured():
    assert CapacityPlan(10**6, 100, Shape()).triton_gpu_pods is None
    assert CapacityPlan(10**6, 1200, Shape(gpu_images_s=1000)).triton_gpu_pods == 3


@pytest.mark.parametrize("text", ["1e6", "1000000", "1_000_000"])
def test_a_number_is_read_however_it_is_written(text):
    assert count(text) == 1_000_000


@pytest.mark.parametrize("text", ["many", "0", "-5", "1.5", "1e20", "nan", "inf"])
def test_a_malformed_number_of_images_is_reported(text):
    with pytest.raises(InvalidInput, match="--images"):
        count(text)


def test_the_command_prints_a_column_for_each_size():
    shown = CliRunner().invoke(app, ["plan", "--images", "1e5", "--images", "1e9", "--qps", "100"])
    assert not shown.exit_code, shown.output
    assert "100,000 images" in shown.output
    assert "1,000,000,000 images" in shown.output
    assert "query nodes" in shown.output


def test_the_guide_shows_what_the_command_prints():
    command = re.search(r"visualsearch (plan .*--markdown)", (ROOT / "docs" / "sizing.md").read_text())[1]
    shown = CliRunner().invoke(app, command.split())
    assert shown.output in (ROOT / "docs" / "sizing.md").read_text()


def cell(table, pattern):
    return float(re.search(pattern, (RESULTS / table).read_text(), re.MULTILINE)[1])


def test_the_figures_are_those_that_were_measured():
    measured = {
        "ENCODE_CPU_MS": cell("indexing.md", r"^\| 640 x 480 \| of it triton \| ([\d.]+)"),
        "INDEX_CPU_MS": cell("indexing.md", r"^\| 640 x 480 \| of it indexer \| ([\d.]+)"),
        "GATEWAY_CPU_MS": cell("serving.md", r"^\| gateway \| ([\d.]+)"),
        "SCAN_BASE_MS": cell("serving.md", r"^\| milvus \| ([\d.]+)"),
        "CODES_PER_CPU_S": cell("scan.md", r"([\d.]+) million codes") * 1e6,
    }
    for name, value in measured.items():
        assert value / DRIFT < getattr(figures, name) < value * DRIFT, f"{name} is {value} now"
