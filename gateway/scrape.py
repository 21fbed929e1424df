"""What GET /metrics shows: every process' metrics added up, and what the catalog counts at that moment."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.service import Gateway

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own name for the folder through which processes add their metrics up."""


class Counted(Collector):
    """Gauges that no process holds: they are counted when they are asked for, so none can tell a stale number."""

    def __init__(self, counted: Mapping[str, Any]) -> None:
        self._counted = counted

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Turn the counts into samples; what could not be counted is left out."""
        images = GaugeMetricFamily("visualsearch_images", "Images by status.", labels=["status"])
        for status, number in (self._counted["images"] or {}).items():
            if status != "total":
                images.add_metric([status], number)
        built = GaugeMetricFamily(
            "visualsearch_build_images", "Images of a release that is being built.", labels=["release", "part"]
        )
        for build in self._counted["builds"] or ():
            for part in ("done", "total"):
                built.add_metric([build["release"], part], build[part])
        differences = GaugeMetricFamily(
            "visualsearch_differences",
            "What the last reconciliation found; release is empty for the object store.",
            labels=["release", "kind"],
        )
        for one in self._counted["differences"] or ():
            differences.add_metric([one["release"], one["kind"]], one["number"])
        return images, built, differences


async def scrape(gateway: Gateway) -> bytes:
    """Write everything in Prometheus' text format."""
    counted = CollectorRegistry()
    counted.register(Counted(await gateway.counted()))
    return await asyncio.to_thread(lambda: generate_latest(_measured()) + generate_latest(counted))


def _measured() -> CollectorRegistry:
    """Return what this process measures, or all of them where they share a folder."""
    if FOLDER not in os.environ:
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together
