"""Metrics that are computed at scrape time: servers up, images, stream, rows, builds, differences, releases.

No process stores them. Each scrape counts them anew, so that all processes report the same current values. A value that
cannot be counted now is omitted.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.api.release_metrics import family, release_families
from visualsearch.domain.images import Status
from visualsearch.observability.metrics import SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.service import Gateway
    from gateway.statistics import Statistics

STREAM = {
    "lag": ("visualsearch_stream_lag_events", "Events that no indexer has taken yet."),
    "pending": ("visualsearch_stream_pending_events", "Events that an indexer has taken and not finished."),
    "dead_letters": ("visualsearch_dead_letters", "Events that were given up on."),
    "oldest_pending_s": ("visualsearch_stream_oldest_age_seconds", "Age of the oldest event that is not finished."),
}


class MetricsCollector(Collector):
    """The metrics of one scrape.

    ``statistics`` is what the gateway counted, ``trouble`` the result of ``Gateway.not_ready``, ``releases`` that of
    ``release_families``.
    """

    def __init__(
        self, statistics: Statistics, trouble: Mapping[str, str], releases: Iterable[GaugeMetricFamily]
    ) -> None:
        self._statistics = statistics
        self._trouble = trouble
        self._releases = releases

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every metric family that has a value."""
        statistics = self._statistics
        yield family(
            "server_up",
            "Whether a server does a little real work when asked to (1) or not (0).",
            ["server"],
            (((server,), server not in self._trouble) for server in SERVERS),
        )
        if (images := statistics.images) is not None:
            yield family("images", "Images by status.", ["status"], (((one.value,), images[one]) for one in Status))
        stream = asdict(statistics.stream) if statistics.stream else {}
        for key, (name, text) in STREAM.items():
            if stream.get(key) is not None:
                yield GaugeMetricFamily(name, text, stream[key])
        if statistics.interactions_waiting is not None:
            text = "Searches and clicks in the interaction queue that are not written yet."
            yield GaugeMetricFamily("visualsearch_interactions_waiting", text, statistics.interactions_waiting)
        yield from self._index()
        yield from self._releases

    def _index(self) -> Iterator[GaugeMetricFamily]:
        statistics = self._statistics
        rows = statistics.collections or {}
        counted = (((name,), n) for name, n in rows.items() if n is not None)
        yield family("index_rows", "Rows of a collection.", ["collection"], counted)
        builds = statistics.builds or []
        done = [((one.release, "done"), one.done) for one in builds]
        total = [((one.release, "total"), one.total) for one in builds]
        yield family("build_images", "Images of a release that is being built.", ["release", "part"], [*done, *total])
        recalls = {name: one.value for name, one in (statistics.recall or {}).items() if one.value is not None}
        yield family(
            "recall_proxy",
            "Recall@10 of the sampled queries of the last ten minutes.",
            ["release"],
            (((name,), value) for name, value in recalls.items()),
        )
        shadow = statistics.shadow
        alike = {"overlap": shadow.overlap, "rbo": shadow.rbo, "same_first": shadow.same_first} if shadow else {}
        yield family(
            "shadow_agreement_ratio",
            "How alike a shadow's answers are to the live ones, means over its queries.",
            ["release", "measure"],
            (((shadow.release, name), value) for name, value in alike.items() if shadow and value is not None),
        )
        found = statistics.differences or {}
        yield family(
            "differences",
            "What the last reconciliation found; release is empty for the object store.",
            ["release", "kind"],
            ((where, number) for where, number in found.items()),
        )


async def collect(gateway: Gateway) -> MetricsCollector:
    """Collect all values concurrently. It takes at most the longest timeout of the servers."""
    stats, trouble, moves = await asyncio.gather(
        gateway.statistics.collect(), gateway.not_ready(), release_families(gateway.release_repository)
    )
    return MetricsCollector(stats, trouble, moves)
