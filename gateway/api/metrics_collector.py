"""Metrics that are computed at scrape time: servers up, images, stream, rows, builds, differences, releases.

No process stores them. Each scrape counts them anew, so that all processes report the same current values. A value that
cannot be counted now is omitted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.api.release_metrics import family, release_facts
from visualsearch.observability.metrics import SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.service import Gateway

STREAM = {
    "lag": ("visualsearch_stream_lag_events", "Events that no indexer has taken yet."),
    "pending": ("visualsearch_stream_pending_events", "Events that an indexer has taken and not finished."),
    "dead_letters": ("visualsearch_dead_letters", "Events that were given up on."),
    "oldest_pending_s": ("visualsearch_stream_oldest_age_seconds", "Age of the oldest event that is not finished."),
}


class MetricsCollector(Collector):
    """The metrics of one scrape.

    ``stats`` is the result of ``Gateway.stats``, ``trouble`` that of ``Gateway.not_ready``, ``releases`` that of
    ``release_facts``.
    """

    def __init__(
        self, stats: Mapping[str, Any], trouble: Mapping[str, str], releases: Iterable[GaugeMetricFamily]
    ) -> None:
        self._stats = stats
        self._trouble = trouble
        self._releases = releases

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every metric family that has a value."""
        stats = self._stats
        yield family(
            "server_up",
            "Whether a server does a little real work when asked to (1) or not (0).",
            ["server"],
            (((server,), server not in self._trouble) for server in SERVERS),
        )
        if images := stats["images"]:
            counts = {status: number for status, number in images.items() if status != "total"}
            yield family("images", "Images by status.", ["status"], (((name,), n) for name, n in counts.items()))
        for key, (name, text) in STREAM.items():
            if stats["stream"] and stats["stream"][key] is not None:
                yield GaugeMetricFamily(name, text, stats["stream"][key])
        if stats["interactions_waiting"] is not None:
            text = "Searches and clicks in the interaction queue that are not written yet."
            yield GaugeMetricFamily("visualsearch_interactions_waiting", text, stats["interactions_waiting"])
        yield from self._index()
        yield from self._releases

    def _index(self) -> Iterator[GaugeMetricFamily]:
        rows = self._stats["collections"] or {}
        counted = (((name,), n) for name, n in rows.items() if n is not None)
        yield family("index_rows", "Rows of a collection.", ["collection"], counted)
        builds = self._stats["builds"] or []
        parts = (((one["release"], part), one[part]) for one in builds for part in ("done", "total"))
        yield family("build_images", "Images of a release that is being built.", ["release", "part"], parts)
        recalls = [one for one in self._stats["recall"] or [] if one["recall"] is not None]
        yield family(
            "recall_proxy",
            "Recall@10 of the sampled queries of the last ten minutes.",
            ["release"],
            (((one["release"],), one["recall"]) for one in recalls),
        )
        shadow = self._stats["shadow"] or {}
        alike = [(name, shadow[name]) for name in ("overlap", "rbo", "same_first") if shadow.get(name) is not None]
        yield family(
            "shadow_agreement_ratio",
            "How alike a shadow's answers are to the live ones, means over its queries.",
            ["release", "measure"],
            (((shadow["release"], name), value) for name, value in alike),
        )
        found = self._stats["differences"] or []
        yield family(
            "differences",
            "What the last reconciliation found; release is empty for the object store.",
            ["release", "kind"],
            (((one["release"], one["kind"]), one["number"]) for one in found),
        )


async def facts(gateway: Gateway) -> MetricsCollector:
    """Collect all values concurrently. It takes at most the longest timeout of the servers."""
    stats, trouble, moves = await asyncio.gather(
        gateway.stats(), gateway.not_ready(), release_facts(gateway.release_repository)
    )
    return MetricsCollector(stats, trouble, moves)
