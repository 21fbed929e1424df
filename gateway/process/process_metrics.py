"""What the gateway's processes use together: the standard ``process_`` metrics, which one process alone cannot tell."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator


class ProcessMetrics(Collector):
    """Counts this process' parent and all of its children: the gateway's processes and the one that keeps them."""

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Add up memory, processor time and open files."""
        memory, seconds, files, count = 0, 0.0, 0, 0
        parent = psutil.Process(os.getppid())
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                memory += process.memory_info().rss
                seconds += times.user + times.system
                files += process.num_fds()
                count += 1
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory of all processes.", memory)
        yield CounterMetricFamily("process_cpu_seconds", "Processor time that the living processes have used.", seconds)
        yield GaugeMetricFamily("process_open_fds", "Open files of all processes.", files)
        yield GaugeMetricFamily("visualsearch_gateway_processes", "Processes of the gateway, with their parent.", count)
