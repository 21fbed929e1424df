"""What a run found: formats by outcomes, the slowest files, memory, and every fault."""

import json
from collections import Counter
from pathlib import Path

from tests.fuzz.pictures.corpus import hostile_file

OUTCOMES = {200: "accepted", 413: "413", 415: "415", 422: "422"}
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC", "other")
SLOWEST = 5


class Report:
    """Collects verdicts; writes each file with a fault, its seed and number to a folder."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._seed, self._folder = seed, folder
        self._outcomes: Counter[tuple[str, int]] = Counter()
        self._slowest: list[tuple[float, str]] = []
        self.memory: dict[str, list[int]] = {}
        self.faults: list[str] = []

    @property
    def files(self) -> int:
        """How many files were tried."""
        return self._outcomes.total()

    def add(self, number: int, verdict: dict[str, object]) -> None:
        """Add the verdict of a file."""
        kind, status, seconds = verdict["kind"], verdict["status"], verdict["seconds"]
        self._outcomes[kind, status] += 1
        self._slowest = sorted([*self._slowest, (seconds, verdict["name"])], reverse=True)[:SLOWEST]
        for fault in verdict["faults"]:
            self.fault(number, fault)

    def remember(self, memory: dict[str, int]) -> None:
        """Add what each process has, in MB."""
        for name, now in memory.items():
            first, peak, _ = self.memory.setdefault(name, [now, now, now])
            self.memory[name] = [first, max(peak, now), now]

    def fault(self, number: int, what: str) -> None:
        """Add a fault, and keep the file."""
        file = hostile_file(self._seed, number)
        self.faults.append(f"file {number} of seed {self._seed} ({file.name}) {what}")
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._seed}-{number}"
        path.with_suffix(".bin").write_bytes(file.data)
        with path.with_suffix(".json").open("a") as out:
            out.write(json.dumps({"seed": self._seed, "number": number, "name": file.name, "fault": what}) + "\n")

    def text(self) -> str:
        """The tables."""
        others = sorted({status for _, status in self._outcomes} - OUTCOMES.keys())
        columns = {**OUTCOMES, **{status: str(status) for status in others}}
        lines = [f"{'':8}" + "".join(f"{name:>10}" for name in columns.values())]
        for kind in KINDS:
            lines.append(f"{kind:8}" + "".join(f"{self._outcomes[kind, status]:>10}" for status in columns))
        lines.append("slowest: " + "; ".join(f"{seconds:.2f} s {name}" for seconds, name in self._slowest))
        for name, (first, peak, last) in self.memory.items():
            lines.append(f"memory of {name}: {first} MB before, {peak} MB at peak, {last} MB after")
        lines += [f"{len(self.faults)} faults", *self.faults]
        return "\n".join(lines)
