"""The gateway under load: latency, goodput and refusals by the offered rate: `python -m benchmarks.serving`.

The floor is the CPU time of decoding, Triton and Milvus for a search, each called directly, divided by the number of
cores. Requires a running stack with the demo corpus on the same machine, and no other load.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import matplotlib

from benchmarks.local_stack import stack_settings

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.indexing import make_pictures
from benchmarks.load import K, Load, run
from benchmarks.stages import Processes, floor
from benchmarks.table import RESULTS, grid, write

SIZE = (640, 480)
PICTURES, SAMPLE = 150, 150
CALLERS = 12
"""Number of callers that keep every core busy without any refused search."""
SECONDS = 20
SHARES = (0.25, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
"""Offered rates, as shares of the throughput with every core busy."""
NORMAL, OVERLOAD = 0.7, 5.0
CORES = os.cpu_count() or 1


def main() -> None:
    """Measure the floor, the throughput, and then each rate."""
    settings = stack_settings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = make_pictures(folder, SIZE, PICTURES)
        sample = [picture.read_bytes() for picture in pictures[:SAMPLE]]
        floors = [asyncio.run(floor(settings, sample))]
        run(settings.url, pictures, folder, 3, callers=CALLERS)  # warm-up
        processes = Processes(settings)
        before = processes.cpu_s()
        busy = run(settings.url, pictures, folder, SECONDS, callers=CALLERS)
        spent = processes.since(before, round(busy.answered * SECONDS))
        floors.append(asyncio.run(floor(settings, sample)))  # before and after, because the machine's speed varies
        loads = {share: run(settings.url, pictures, folder, SECONDS, rate=share * busy.answered) for share in SHARES}
    costs = {stage: (floors[0][stage] + floors[1][stage]) / 2 for stage in floors[0]}
    plot(loads)
    report(costs, spent, busy, loads)


def report(costs: dict[str, float], spent: dict[str, float], busy: Load, loads: dict[float, Load]) -> None:
    """Write the table."""
    rows = [
        (
            f"{load.offered:.0f} ({share:g})",
            f"{load.answered:.0f}",
            f"{load.refused / load.offered:.2f}",
            load.other,
            *(f"{value:.0f}" for value in (load.p50, load.p95, load.p99, load.refused_p95)),
            f"{generator(load):.2f}",
        )
        for share, load in loads.items()
    ]
    least = 1000 * CORES / sum(costs.values())
    peak = max(load.answered for load in loads.values())
    normal, overload = loads[NORMAL], loads[OVERLOAD]
    left = {share: load.answered / (1 - generator(load)) for share, load in loads.items()}
    stages = [(stage, f"{cost:.1f}") for stage, cost in costs.items()]
    everything = [*spent.items(), ("locust", busy.generator_ms)]
    processes = [(name, f"{cost:.1f}") for name, cost in everything if cost >= 0.05]
    total = sum(cost for _, cost in everything)
    note = f"""Offered at fixed rates for {SECONDS} s each, whatever comes back; in brackets the rate over the
throughput with every core busy. Pictures of {SIZE[0]} x {SIZE[1]}, k = {K}. Latencies are those of answers, and of
refusals in the column for them.

- {CALLERS} callers who ask one search after the other get {busy.answered:.1f} answers a second, \
{busy.answered / least:.2f} of the floor of {least:.1f}. \
Of the CPU time that a search costs, {sum(costs.values()) / total:.2f} is the floor's.
- At {NORMAL:g} of that, p99 is {normal.p99 / normal.p50:.1f} times p50.
- At {OVERLOAD:g} times that, {overload.answered / peak:.2f} of the highest goodput is answered, \
and {overload.refused / overload.offered:.2f} of what is offered refused. Locust runs on the same cores: of the \
CPU that it leaves, the goodput is {left[OVERLOAD] / max(left.values()):.2f} of the highest.

CPU milliseconds of one search's stages, each called directly; their sum, {sum(costs.values()):.1f}, makes the floor:

{grid(("stage", "CPU ms"), stages)}

CPU milliseconds of every process for one search with every core busy, {total:.1f} together:

{grid(("process", "CPU ms"), processes)}

![Latency and goodput over the offered rate](serving.png)"""
    latencies = ("p50 ms", "p95 ms", "p99 ms", "refusals' p95 ms")
    heading = ("offered/s", "answered/s", "refused, share", "other", *latencies, "locust, share of CPU")
    write("serving", "The gateway under load", "python -m benchmarks.serving", heading, rows, note)


def generator(load: Load) -> float:
    """Return the load generator's own share of the machine's CPU time."""
    return load.generator_ms * load.requests / SECONDS / 1000 / CORES


def plot(loads: dict[float, Load]) -> None:
    """Plot latency, and goodput with refusals, by the offered rate."""
    offered = [load.offered for load in loads.values()]
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 7), sharex=True, layout="constrained")
    for name in ("p50", "p95", "p99"):
        above.plot(offered, [getattr(load, name) for load in loads.values()], "o-", label=name)
    above.set_ylabel("latency of answers, ms")
    above.legend()
    answered = [load.answered for load in loads.values()]
    below.plot(offered, answered, "o-", label="answered")
    below.plot(offered, offered, ":", color="grey", label="offered")
    below.set(xlabel="offered searches a second", ylabel="searches a second", ylim=(0, 1.3 * max(answered)))
    share = below.twinx()
    share.bar(
        offered,
        [load.refused / load.offered for load in loads.values()],
        width=max(offered) / 60,
        color="C3",
        alpha=0.3,
        label="refused",
    )
    share.set(ylim=(0, 1), ylabel="refused, share")
    below.legend(loc="upper left")
    share.legend(loc="upper right")
    figure.savefig(RESULTS / "serving.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
