"""The queries of the Grafana dashboards, as tables: one panel per line, with its Grafana unit."""

from __future__ import annotations

from dataclasses import dataclass

OURS = 'route!~"/ready|/health|/metrics"'
STAGES = "visualsearch_search_stage_seconds"
STAGE_OF = 'release=~"$release"'
INDEX_STAGES = "visualsearch_index_stage_seconds"
KNOWN = "max by (release, state, model_version, profile) (visualsearch_release_info)"


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph. ``queries`` are PromQL by legend, which may name labels as ``{{label}}``."""

    title: str
    unit: str
    queries: dict[str, str]


def _quantile(q: float, histogram: str, by: str, where: str = "") -> str:
    return f"histogram_quantile({q}, sum by (le, {by}) (rate({histogram}_bucket{{{where}}}[$__rate_interval])))"


def _mean(histogram: str, by: str, where: str = "") -> str:
    parts = (f"sum by ({by}) (rate({histogram}_{end}{{{where}}}[$__rate_interval]))" for end in ("sum", "count"))
    return " / ".join(parts)


def _rate(counter: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({counter}{{{where}}}[$__rate_interval]))"


def _ratio(above: str, below: str, by: str) -> str:
    return f"{_rate(above, by)} / {_rate(below, by)}"


SEARCH = [
    Panel("Requests a second", "reqps", {"{{route}}": _rate("visualsearch_requests_total", "route", OURS)}),
    Panel(
        "Requests by status", "reqps", {"{{method}} {{status}}": _rate("visualsearch_requests_total", "method, status")}
    ),
    Panel("Errors by kind", "reqps", {"{{kind}}": _rate("visualsearch_errors_total", "kind")}),
    Panel("Time to answer, p95", "s", {"{{route}}": _quantile(0.95, "visualsearch_request_seconds", "route", OURS)}),
    Panel("Stages of a search, p50", "s", {"{{stage}}": _quantile(0.5, STAGES, "stage", STAGE_OF)}),
    Panel("Stages of a search, p95", "s", {"{{stage}}": _quantile(0.95, STAGES, "stage", STAGE_OF)}),
    Panel("Refused with Retry-After", "reqps", {"{{reason}}": _rate("visualsearch_shed_requests_total", "reason")}),
    Panel(
        "Encoder: pictures in a batch",
        "none",
        {"{{model}}": _ratio("nv_inference_count", "nv_inference_exec_count", "model")},
    ),
    Panel(
        "Encoder: time of a request",
        "µs",
        {
            part: _ratio(f"nv_inference_{part}_duration_us", "nv_inference_request_success", "model")
            for part in ("queue", "compute_input", "compute_infer", "compute_output", "request")
        },
    ),
    Panel(
        "Encoder: waiting requests, failures a second",
        "none",
        {
            "wait": "sum(nv_inference_pending_request_count)",
            "failures": _rate("nv_inference_request_failure", "model"),
        },
    ),
    Panel(
        "Recall by sampling",
        "percentunit",
        {"{{release}}": "min by (release) (visualsearch_recall_proxy)"},
    ),
    Panel(
        "nprobe and ef in use",
        "none",
        {"{{release}} {{parameter}}": "max by (release, parameter) (visualsearch_search_parameter)"},
    ),
]

INDEXING = [
    Panel("Images by status", "none", {"{{status}}": "max by (status) (visualsearch_images)"}),
    Panel("Events a second by outcome", "ops", {"{{outcome}}": _rate("visualsearch_index_events_total", "outcome")}),
    Panel(
        "The stream",
        "none",
        {
            "not taken": "max(visualsearch_stream_lag_events)",
            "in hand": "max(visualsearch_stream_pending_events)",
            "dead letters": "max(visualsearch_dead_letters)",
        },
    ),
    Panel("Age of the oldest event", "s", {"oldest": "max(visualsearch_stream_oldest_age_seconds)"}),
    Panel("Events per batch", "none", {"mean": _mean("visualsearch_index_batch_events", "job")}),
    Panel("Stages of a batch, p95", "s", {"{{stage}}": _quantile(0.95, INDEX_STAGES, "stage")}),
    Panel("Rows by collection", "none", {"{{collection}}": "max by (collection) (visualsearch_index_rows)"}),
    Panel(
        "Build progress",
        "percentunit",
        {
            "{{release}}": 'max by (release) (visualsearch_build_images{part="done"})'
            ' / max by (release) (visualsearch_build_images{part="total"})'
        },
    ),
    Panel(
        "Differences found by the last reconciliation",
        "none",
        {"{{kind}} {{release}}": "max by (kind, release) (visualsearch_differences)"},
    ),
    Panel("Notices of object stores", "ops", {"{{outcome}}": _rate("visualsearch_store_notices_total", "outcome")}),
]

STORES = [
    Panel("Servers that work", "none", {"{{server}}": "min by (server) (visualsearch_server_up)"}),
    Panel("Targets that serve metrics", "none", {"{{job}}": "min by (job) (up)"}),
    Panel("Processor", "none", {"{{job}} {{instance}}": "rate(process_cpu_seconds_total[$__rate_interval])"}),
    Panel(
        "Memory",
        "bytes",
        {
            "{{job}} {{instance}}": "process_resident_memory_bytes",
            "host, as Triton sees it": "nv_cpu_memory_used_bytes",
        },
    ),
    Panel(
        "GPU",
        "percentunit",
        {
            "{{gpu_uuid}} busy": "nv_gpu_utilization",
            "{{gpu_uuid}} memory": "nv_gpu_memory_used_bytes / nv_gpu_memory_total_bytes",
        },
    ),
    Panel("Processor of Triton's host", "percentunit", {"busy": "nv_cpu_utilization"}),
    Panel(
        "Milvus: calls a second",
        "reqps",
        {"{{function_name}}": _rate("milvus_proxy_req_count", "function_name", 'status="total"')},
    ),
    Panel(
        "Milvus: search and query, p95",
        "ms",
        {"{{query_type}}": _quantile(0.95, "milvus_proxy_sq_latency", "query_type")},
    ),
    Panel("Milvus: query nodes", "none", {"query nodes": "max(milvus_querycoord_querynode_num)"}),
    Panel("Milvus: rows in memory", "none", {"{{node_id}}": "sum by (node_id) (milvus_querynode_entity_num)"}),
    Panel("Milvus: segments", "none", {"{{segment_state}}": "sum by (segment_state) (milvus_datacoord_segment_num)"}),
    Panel(
        "Object store: requests a second",
        "reqps",
        {"{{type}} {{code}}": _rate("SeaweedFS_s3_request_total", "type, code")},
    ),
    Panel(
        "Object store: time of a request, p95",
        "s",
        {"{{type}}": _quantile(0.95, "SeaweedFS_s3_request_seconds", "type")},
    ),
    Panel(
        "Free disk space",
        "percentunit",
        {"{{instance}}": "visualsearch_disk_free_bytes / visualsearch_disk_size_bytes"},
    ),
    Panel(
        "Certificates end in",
        "s",
        {"{{address}}": "visualsearch_certificate_expiry_timestamp_seconds - time()"},
    ),
]

RELEASES = [
    Panel(
        "Releases",
        "none",
        {
            "{{release}}, {{state}}: version {{model_version}}, {{profile}}": KNOWN,
        },
    ),
    Panel(
        "Canaries and shadows",
        "percentunit",
        {
            "{{release}} answers": "max by (release) (visualsearch_canary_ratio)",
            "{{release}} in the shadow": "max by (release) (visualsearch_shadow_ratio)",
        },
    ),
    Panel(
        "Agreement of the shadow's answers",
        "percentunit",
        {"{{release}} {{measure}}": "max by (release, measure) (visualsearch_shadow_agreement_ratio)"},
    ),
    Panel(
        "Searches a second by release and variant",
        "reqps",
        {"{{release}} {{variant}}": _rate(f"{STAGES}_count", "release, variant", f'stage="total",{STAGE_OF}')},
    ),
    Panel(
        "Time of a search by release and variant, p95",
        "s",
        {"{{release}} {{variant}}": _quantile(0.95, STAGES, "release, variant", f'stage="total",{STAGE_OF}')},
    ),
    Panel(
        "Results shown a second",
        "ops",
        {"{{release}} {{variant}}": _rate("visualsearch_impressions_total", "release, variant", STAGE_OF)},
    ),
    Panel(
        "Clicks on what is shown",
        "percentunit",
        {
            "{{job}}": _ratio("visualsearch_clicks_total", "visualsearch_impressions_total", "job"),
        },
    ),
    Panel(
        "Searches and clicks to be recorded",
        "ops",
        {"{{what}} {{outcome}}": _rate("visualsearch_interactions_total", "what, outcome")},
    ),
    Panel("Queued and not written yet", "none", {"waiting": "max(visualsearch_interactions_waiting)"}),
]
