"""Traces of a gateway and an indexer in memory, as a collector receives them."""

import json
import logging
from dataclasses import replace

import pytest

from tests.eventually import eventually
from tests.otlp_collector import collecting, connected
from tests.pictures import jpeg
from tests.unit.indexing import settled, working
from tests.unit.serving import Serving
from visualsearch.observability import tracing
from visualsearch.observability.log_format import JsonLines

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def collector():
    with collecting() as collector:
        yield collector


async def searched(collector, headers=None, ratio=1.0):
    """Search once in a traced gateway; return the spans once all have come."""
    with tracing.exported(collector.url, "gateway", ratio):
        async with Serving() as serving:
            await serving.index(jpeg(1))
            files = {"image": ("x.jpg", jpeg(1))}
            assert (await serving.client.post("/search", files=files, headers=headers)).status_code == 200
    return list(collector.spans)


async def test_a_search_is_one_trace_with_its_stages(collector):
    spans = await searched(collector)
    assert {"POST /search", "decode", "embed", "ann", "rank"} <= {span.name for span in spans}
    assert len({span.trace for span in spans}) == 1
    assert connected(spans)
    (root,) = [span for span in spans if span.name == "POST /search"]
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["release"] == "v1"


async def test_the_trace_of_the_caller_is_propagated(collector):
    spans = await searched(collector, {"traceparent": TRACEPARENT})
    assert {span.trace for span in spans} == {TRACE}
    assert PARENT in {span.parent for span in spans}


async def test_a_trace_that_the_caller_does_not_sample_is_not_sampled(collector):
    assert not await searched(collector, {"traceparent": TRACEPARENT[:-2] + "00"})


@pytest.mark.parametrize("given", ["nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"])
async def test_a_malformed_traceparent_starts_a_new_trace(collector, given):
    assert TRACE not in {span.trace for span in await searched(collector, {"traceparent": given})}


async def test_a_ratio_of_zero_samples_only_what_callers_sample(collector):
    assert not await searched(collector, ratio=0.0)
    assert await searched(collector, {"traceparent": TRACEPARENT}, ratio=0.0)


async def test_health_checks_leave_no_traces(collector):
    with tracing.exported(collector.url, "gateway"):
        async with Serving() as serving:
            for path in ("/health", "/ready", "/metrics"):
                await serving.client.get(path)
    assert not collector.spans


async def test_calls_to_servers_join_a_trace_and_start_none(collector):
    class Server:
        async def ask(self, what):
            return what

    with tracing.exported(collector.url, "tests"):
        server = tracing.traced(Server(), "milvus")
        assert await server.ask("alone") == "alone"
        with tracing.span("search"):
            assert await server.ask("within") == "within"
    assert sorted(span.name for span in collector.spans) == ["milvus ask", "search"]


async def test_the_event_of_an_upload_carries_its_trace(collector):
    with tracing.exported(collector.url, "gateway"):
        async with Serving() as serving:
            await serving.upload(jpeg(1), {"traceparent": TRACEPARENT})
            (event,) = [delivery.event for delivery in await serving.events.read("me", 10, 0, 60)]
    assert event.traceparent.split("-")[1] == TRACE


async def indexed(world, collector, *origins):
    """Index a picture for each traceparent, together."""
    events = []
    for number, origin in enumerate(origins):
        event = await world.upload(f"{number}.jpg", jpeg(number))
        events.append(replace(event, traceparent=origin))
    with tracing.exported(collector.url, "indexer"):
        await world.events.publish(events)
        async with working(world):
            await eventually(lambda: settled(world))


async def test_indexing_one_image_belongs_to_the_trace_of_its_upload(collector, world):
    await indexed(world, collector, TRACEPARENT)
    assert {span.trace for span in collector.spans} == {TRACE}
    assert {"index", "load", "embed", "write", "confirm"} <= {span.name for span in collector.spans}


async def test_indexing_several_together_is_a_trace_linked_with_each(collector, world):
    other = TRACEPARENT.replace("0af", "1af")
    await indexed(world, collector, TRACEPARENT, other)
    (together,) = [span for span in collector.spans if span.name == "index together"]
    traces = {TRACE, TRACE.replace("0af", "1af")}
    assert set(together.links) == traces
    assert together.trace not in traces
    ones = [span for span in collector.spans if span.name == "index"]
    assert {span.trace for span in ones} == traces
    assert {span.links for span in ones} == {(together.trace,)}


async def test_a_log_line_contains_the_trace(collector):
    record = logging.LogRecord("tests", logging.INFO, __file__, 1, "a line", None, None)
    with tracing.exported(collector.url, "tests"), tracing.span("work", "server", TRACEPARENT):
        assert json.loads(JsonLines().format(record))["trace_id"] == TRACE
    assert "trace_id" not in json.loads(JsonLines().format(record))


async def test_nothing_is_traced_where_no_collector_is_named():
    with tracing.exported("", "gateway"):
        adapter = object()
        assert tracing.traced(adapter, "milvus") is adapter
        assert tracing.span("a") is tracing.span("b")
        assert tracing.traceparent() == ""


async def test_a_collector_that_is_down_delays_nothing(unused_tcp_port, monkeypatch):
    monkeypatch.setattr(tracing, "EXPORT_S", 0.2)
    with tracing.exported(f"http://127.0.0.1:{unused_tcp_port}", "gateway"):
        async with Serving() as serving:
            await serving.index(jpeg(1))
            assert (await serving.search(jpeg(1))).status_code == 200
