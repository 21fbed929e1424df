"""The standard ``process_`` metrics, summed over all processes of the gateway."""

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
    """Measures the parent process and all of its children, which are the gateway's worker processes."""

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Sum memory, CPU time and open files."""
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
