"""Kill and halt the servers one after the other under constant load. No accepted upload may be lost.

``make chaos`` takes about half an hour. VISUALSEARCH_CHAOS=quick, or a list such as kill:indexer,stop:valkey, selects a
short run, whose table and picture go to a temporary folder instead of benchmarks/results.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from rich.console import Console

from benchmarks import table
from tests.chaos import faults, report, verdict
from tests.chaos.load import TIMEOUT_S, Collages, Load, Poison, Upload
from tests.conftest import ROOT, UP_TIMEOUT_S, Stack, everything_reachable

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3 * 3600)]

BOUND_S = 180.0
"""Maximum seconds of recovery after a fault, or after the end of a halt."""
HALT_S = 20.0
CALM_S = 3.0
LOOK_EVERY_S = 0.5
LOOKED_AFTER = 8
"""Number of pending uploads to check in each round, one second apart. Checking all would itself add load."""


@dataclass(slots=True)
class Aftermath:
    """The data that the tests check."""

    stack: Stack
    load: Load
    windows: list[report.Window]
    verdict: verdict.Verdict
    reconciled: tuple[int, str]
    dead_letters: list[list[str]]
    demo: int

    def uploads(self, answer: str) -> list[Upload]:
        return [one for one in self.load.uploads if one.answer == answer]

    def poison(self, kind: str) -> list[Poison]:
        return [one for one in self.load.poison if one.kind == kind]


@pytest.fixture(scope="module")
def chaos_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A separate stack with the demo corpus, so that other tests do not interfere."""
    stack = Stack(tmp_path_factory.mktemp("chaos") / "state")
    try:
        for words in (("up", "--detach", *everything_reachable()), ("index", "demo/pictures")):
            done = stack.command(*words, timeout_s=UP_TIMEOUT_S)
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        yield stack
    finally:
        stack.command("down")


@pytest.fixture(scope="module")
def aftermath(
    chaos_stack: Stack, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Aftermath:
    """Run all faults once. Write the table and the picture, whatever the tests find."""
    quick = bool(os.environ.get("VISUALSEARCH_CHAOS"))
    results = tmp_path_factory.mktemp("results") if quick else table.RESULTS
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        console = Console(file=sys.stdout)
        console.print()
        seen = Ordeal(chaos_stack, console).run()
        console.print(f"The table and the timeline are in {results}.", highlight=False, soft_wrap=True)
    _write(seen, results)
    return seen


class Ordeal:
    """One run through all faults."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self._stack = stack
        self._settings = stack.settings()
        self._collages = Collages(ROOT / "demo" / "pictures")
        queries = [file.read_bytes() for file in sorted((ROOT / "demo" / "queries").iterdir())]
        self._load = Load(self._settings, self._collages, queries)
        self._plan = faults.plan()
        self._windows: list[report.Window] = []
        self._board = report.Board(console, len(self._plan))
        self._api = httpx.Client(base_url=self._settings.url, timeout=5)

    def run(self) -> Aftermath:
        demo = self._api.get("/stats").raise_for_status().json()["images"]["indexed"]
        with self._board, closing(self._api):
            self._load.start()
            try:
                self._watch(self._open("no fault"))
                for fault in self._plan:
                    self._one(fault)
            finally:
                self._windows[-1].ended = time.monotonic()
                self._board.say("Ending the load.")
                self._load.stop()
            found = verdict.Verdict()
            self._board.say("Waiting until nothing is pending.")
            verdict.rest(self._api, found)
            accepted = [one for one in self._load.uploads if one.answer == "accepted"]
            text = f"Asking after {len(accepted)} accepted pictures"
            self._board.say(text)
            told = lambda done: self._board.say(f"{text}: {done}", passing=True)  # noqa: E731
            verdict.judge(self._api, self._collages, accepted, found, told)
            done = self._stack.command("reconcile", timeout_s=300)
            seen = Aftermath(
                self._stack,
                self._load,
                self._windows,
                found,
                (done.returncode, done.stdout + done.stderr),
                _dead_letters(self._stack),
                demo,
            )
            self._board.finish(self._rows(found.fates), _note(seen))
        return seen

    def _one(self, fault: faults.Fault) -> None:
        """Inject a fault, wait until search and indexing work again, then pause."""
        self._board.say(f"{fault}: looking for its process")
        process = faults.find(self._stack, fault.name)
        window = self._open(str(fault))
        halted = faults.strike(fault, process)
        self._board.show(self._rows(), f"{fault}: done to process {process.pid}")
        try:
            self._watch(window, HALT_S if halted else 0.0, halted)
        finally:
            faults.resume(halted)

    def _open(self, name: str) -> report.Window:
        now = time.monotonic()
        if self._windows:
            self._windows[-1].ended = now
        self._windows.append(report.Window(name, now))
        return self._windows[-1]

    def _watch(self, window: report.Window, halt_s: float = 0.0, halted: Sequence[psutil.Process] = ()) -> None:
        """Wait for the window's figures, and for some time after. Resume the halted processes in between."""
        over = window.begun + halt_s
        while time.monotonic() - over < BOUND_S:
            self._load.check()
            if halted and time.monotonic() > over:
                faults.resume(halted)
                halted = ()
            if window.indexing_s is None and self._indexes(window.begun):
                window.indexing_s = time.monotonic() - window.begun
            calm = time.monotonic() - over > CALM_S and self._searches_well()
            if calm and window.indexing_s is not None:
                break
            waiting = ["the halt's end"] * bool(halted) or ["search"] * (not calm)
            waiting += ["indexing"] * (window.indexing_s is None)
            self._board.say(f"{window.name}: waiting for {' and '.join(waiting)}", passing=True)
            time.sleep(LOOK_EVERY_S)
        if self._searches_well():
            window.search_s = self._outage_s(window.begun)
        window.watched = True
        self._board.show(self._rows(), f"{window.name}: done")

    def _indexes(self, begun: float) -> bool:
        """Return whether an upload from after the fault is indexed."""
        sent = [one for one in self._load.uploads if one.begun >= begun and one.answer == "accepted"]
        try:
            for one in (*sent[:1], *sent[:0:-5][:LOOKED_AFTER]):
                facts = self._api.get(f"/images/{one.image_id}")
                if facts.status_code == 200 and facts.json()["status"] == "indexed":
                    return True
        except httpx.HTTPError:
            return False  # the gateway was killed, or waits for the killed server; the next round checks again
        return False

    def _searches_well(self) -> bool:
        """Return whether there were searches in the last seconds and none of them failed."""
        lately = [one for one in self._load.searches if one.ended > time.monotonic() - CALM_S]
        return bool(lately) and not any(one.trouble for one in lately)

    def _outage_s(self, begun: float) -> float:
        """Return the seconds from the fault to the first success after the last failure; 0.0 if none failed."""
        searches = [one for one in self._load.searches if one.ended >= begun]
        failed = max((one.ended for one in searches if one.trouble), default=None)
        if failed is None:
            return 0.0
        return next((one.ended for one in searches if one.ended > failed), time.monotonic()) - begun

    def _rows(self, fates: dict[int, str] | None = None) -> list[tuple[str, ...]]:
        return [window.row(self._load.uploads, fates) for window in self._windows]


def _dead_letters(stack: Stack) -> list[list[str]]:
    """Return the cells of `visualsearch dead-letters list`, with a terminal wide enough for cells of one line."""
    stack.env["COLUMNS"] = "400"
    done = stack.command("dead-letters", "list", "--limit", "10000", timeout_s=60)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row[1:-1]] for row in rows]


def _note(seen: Aftermath) -> str:
    """Return the note below the table, with the figures of the load."""
    load, found = seen.load, seen.verdict
    failed = Counter(one.trouble for one in load.searches if one.trouble)
    why = ", ".join(f"{trouble}: {number}" for trouble, number in failed.most_common()) or "none"
    images, sure = found.stats.get("images") or {}, sum(one.sure for one in load.poison)
    rest = f"came to rest after {found.rest_s:.0f} s" if found.rest_s is not None else "did not come to rest"
    return (
        f"A picture every 0.2 s, a search every 0.1 s, one after the other each, {TIMEOUT_S:.0f} s at most. "
        f"{len(load.uploads)} uploads: {len(seen.uploads('accepted'))} accepted, {len(seen.uploads('refused'))} "
        f"refused, {len(seen.uploads('unknown'))} unanswered. {len(load.searches)} searches, failed ones: {why}. "
        f"{sure} poisoned entries, {len(seen.dead_letters)} dead letters. The stack {rest}, with "
        f"{images.get('indexed')} pictures indexed ({seen.demo} of them the demo corpus') and "
        f"{images.get('rejected')} rejected. `indexed` here is indexed and found first, once, by its own search; a "
        f"search counts as answered again after the last failure that followed the fault."
    )


def _write(seen: Aftermath, results: Path) -> None:
    rows = [window.row(seen.load.uploads, seen.verdict.fates) for window in seen.windows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "RESULTS", results)
        table.write("chaos", "Servers killed and halted under load", "make chaos", report.HEADING, rows, _note(seen))
    end = seen.windows[-1].ended
    report.timeline(results / "chaos.png", seen.load.searches, seen.load.uploads, seen.windows, end)


def test_search_and_indexing_come_back_after_every_fault(aftermath: Aftermath) -> None:
    never = [one.name for one in aftermath.windows if one.search_s is None or one.indexing_s is None]
    assert not never
    assert aftermath.verdict.rest_s is not None, aftermath.verdict.stats


def test_every_accepted_upload_is_indexed_and_found_first_and_once_by_its_own_search(aftermath: Aftermath) -> None:
    accepted = [one.image_id for one in aftermath.uploads("accepted")]
    assert len(set(accepted)) == len(accepted) > 0
    wrong = {one: fate for one, fate in aftermath.verdict.fates.items() if fate != "indexed"}
    assert not wrong


def test_the_collection_has_a_row_for_every_indexed_image_and_no_other(aftermath: Aftermath) -> None:
    rows = aftermath.verdict.stats["collections"]
    assert sum(rows.values()) == aftermath.verdict.stats["images"]["indexed"], aftermath.verdict.stats


def test_nothing_is_indexed_that_nobody_sent(aftermath: Aftermath) -> None:
    """Refused or unanswered uploads may have been stored. Anything else was never sent."""
    extra = aftermath.verdict.stats["images"]["indexed"] - aftermath.demo - len(aftermath.uploads("accepted"))
    assert 0 <= extra <= len(aftermath.uploads("refused")) + len(aftermath.uploads("unknown"))


def test_reconcile_finds_the_stores_in_agreement(aftermath: Aftermath) -> None:
    code, text = aftermath.reconciled
    assert code == 0, text


def test_a_text_file_in_the_bucket_is_rejected(aftermath: Aftermath) -> None:
    sure = sum(one.sure for one in aftermath.poison("text"))
    assert aftermath.verdict.stats["images"]["rejected"] >= sure > 0


def test_the_dead_letters_are_the_planted_entries_and_no_others(aftermath: Aftermath) -> None:
    planted = aftermath.poison("entry")
    strange = [cells for cells in aftermath.dead_letters if cells[3]]  # the injected entries have no uri
    assert not strange
    assert sum(one.sure for one in planted) <= len(aftermath.dead_letters) <= len(planted)
