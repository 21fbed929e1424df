"""The content of GET /metrics: the metrics of all processes summed, and those computed at scrape time."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.api.metrics_collector import collect
from gateway.process.process_metrics import ProcessMetrics
from gateway.process.worker_group import FOLDER

if TYPE_CHECKING:
    from gateway.service import Gateway


async def scrape(gateway: Gateway) -> bytes:
    """Return all metrics in Prometheus' text format."""
    moment = CollectorRegistry(auto_describe=False)
    moment.register(await collect(gateway))
    # Run in a thread, because it reads the files of every process.
    return await asyncio.to_thread(lambda: generate_latest(_measured()) + generate_latest(moment))


def _measured() -> CollectorRegistry:
    """Return the metrics of this process, or of all processes if they share a folder."""
    if FOLDER not in os.environ:
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    together.register(ProcessMetrics())
    return together
