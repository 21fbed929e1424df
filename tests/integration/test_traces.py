"""One upload and one search, each as a trace from the gateway to the last server behind it."""

import os
import secrets

import pytest

from tests.conftest import missing
from tests.eventually import eventually_sync
from tests.otlp_collector import connected
from tests.pictures import jpeg

pytestmark = pytest.mark.stack


@pytest.fixture
def traces(collector):
    if "VISUALSEARCH_TEST_HOME" in os.environ and "VISUALSEARCH_OTLP_ENDPOINT" not in os.environ:
        missing("VISUALSEARCH_OTLP_ENDPOINT, as the kept stack was started with,")
    return collector


def sent(api, method, path, **request):
    """Call with a trace of our own; return the answer and the trace's id."""
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    answer = api.request(method, path, headers=headers, **request)
    assert answer.is_success, answer.text
    return answer.json(), trace


def test_a_search_is_one_trace_from_the_request_to_what_is_written_down_after_it(traces, api, demo_stack):
    _, trace = sent(api, "POST", "/search", files={"image": ("x.jpg", jpeg(77))}, data={"k": "3"})
    wanted = {"POST /search", "decode", "embed", "ann", "rank"}
    wanted |= {"triton encode", "milvus nearest", "valkey append"}
    spans = traces.trace(trace, wanted)
    assert connected(spans)
    above = {span.id: span.name for span in spans}
    parents = {span.name: above.get(span.parent) for span in spans}
    assert parents["triton encode"] == "embed"
    assert parents["milvus nearest"] == "ann"
    assert "rank" in {above.get(span.parent) for span in spans if span.name.startswith("postgres ")}
    assert parents["embed"] == "POST /search"


def test_an_upload_is_one_trace_through_the_stream_into_the_indexer(traces, api, demo_stack):
    accepted, trace = sent(api, "POST", "/images", files={"image": ("x.jpg", jpeg(secrets.randbits(30)))})
    wanted = {"POST /images", "decode", "postgres register", "s3 put", "valkey publish", "index"}
    wanted |= {
        "load",
        "embed",
        "write",
        "confirm",
        "s3 fetch",
        "triton encode",
        "milvus upsert",
        "postgres mark_indexed",
    }
    spans = traces.trace(trace, wanted)
    assert connected(spans)
    assert {span.service for span in spans} == {"visualsearch-gateway", "visualsearch-indexer"}
    path = f"/images/{accepted['id']}"
    eventually_sync(lambda: api.get(path).json()["status"] != "pending")
    assert api.delete(path).status_code == 204
