"""`visualsearch index` on folders as people have them, on the real servers."""

import os
import re
import subprocess
import sys

import obstore
import orjson
import pytest

from tests.conftest import ROOT
from tests.eventually import eventually_sync
from tests.integration.test_store_events import bucket  # noqa: F401 - a fixture
from tests.pictures import jpeg
from tests.untidy_folder import untidy_folder

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def untidy(tmp_path_factory):
    return untidy_folder(tmp_path_factory.mktemp("afternoon") / "untidy")


def index(running, *words):
    done = running.command("index", *map(str, words))
    assert "Traceback" not in done.stderr
    return done


def number(pattern, text):
    found = re.search(rf"([\d,]+) {pattern}", text)
    return int(found[1].replace(",", "")) if found else 0


def outcomes(text):
    return {
        "indexed": number("indexed", text) + number("unchanged", text),
        "rejected": number("rejected", text),
        "no picture": number("files? (?:is|are) no picture", text),
        "excluded": number("files? excluded", text),
    }


def files_below(root):
    """All files, also those in linked folders; each linked folder once."""
    below = sum(len(names) for _, _, names in os.walk(root))
    return below + len(list((root.parent / "outside").iterdir()))


def listed(running, prefix):
    answer = running.command("images", "list", "--prefix", prefix, "--limit", "0", "--json")
    return orjson.loads(answer.stdout)


def test_each_file_has_one_outcome_and_each_reject_a_reason(running, untidy, bucket):  # noqa: F811
    done = index(running, untidy.root)
    assert outcomes(done.stdout) == untidy.outcomes
    assert untidy.outcomes.total() == files_below(untidy.root)
    for name, reason in untidy.rejected.items():
        assert re.search(rf"{re.escape(name)}.*{re.escape(reason)}", done.stdout), name
    for name in (*untidy.renamed, "linked again", "circle", "above"):
        assert name in done.stdout
    assert not {"\x1b", "\udce9"}.intersection(done.stdout)
    keys = [one["path"] for page in obstore.list(bucket, "untidy/") for one in page]
    assert not [key for key in keys if key.endswith((".txt", ".dat", ".mp4", "@eaDir"))]
    assert len(keys) == untidy.outcomes["indexed"] + 2  # the damaged and the tiny picture
    assert "untidy" not in running.command("reconcile").stdout


def test_a_second_run_does_nothing(running, untidy):
    before = listed(running, "untidy/")
    done = index(running, untidy.root)
    assert f"0 indexed, {untidy.outcomes['indexed']} unchanged" in done.stdout
    assert outcomes(done.stdout) == untidy.outcomes
    after = listed(running, "untidy/")
    assert after == before
    assert [one["status"] for one in after].count("indexed") == untidy.outcomes["indexed"]


def test_two_cards_with_the_same_names_are_both_searchable(running, tmp_path):
    for card, seed in (("cardA", 7500), ("cardB", 7501)):
        (tmp_path / card / "DCIM").mkdir(parents=True)
        (tmp_path / card / "DCIM" / "IMG_0001.JPG").write_bytes(jpeg(seed))
        assert "1 indexed" in index(running, tmp_path / card / "DCIM").stdout
    for card in ("cardA", "cardB"):
        file = tmp_path / card / "DCIM" / "IMG_0001.JPG"
        best = orjson.loads(running.command("search", str(file), "-k", "1", "--json").stdout)["results"][0]
        assert best["score"] > 0.99
        assert "0 indexed, 1 unchanged" in index(running, tmp_path / card / "DCIM").stdout


def test_pruning_shows_asks_and_removes_everywhere(running, stack, tmp_path):
    folder = tmp_path / "pruned"
    folder.mkdir()
    for name, seed in (("kept.jpg", 7600), ("gone.jpg", 7601)):
        (folder / name).write_bytes(jpeg(seed))
    index(running, folder)
    (folder / "gone.jpg").unlink()
    asked = index(running, folder, "--prune")  # nobody answers
    assert "gone.jpg" in asked.stdout
    assert len(listed(running, "pruned/")) == 2
    assert "1 image would be removed" in index(running, folder, "--prune", "--dry-run").stdout
    assert "1 image removed." in index(running, folder, "--prune", "--yes").stdout
    assert [one["uri"] for one in listed(running, "pruned/")] == [f"s3://{stack.s3_bucket}/pruned/kept.jpg"]
    assert "pruned" not in running.command("reconcile").stdout
    assert "1 image below pruned/" in running.command("audit").stdout


def test_a_watched_folder_is_followed(running, tmp_path):
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(7700))
    words = [sys.executable, "-m", "cli.main", "index", str(folder), "--watch", "--prune", "--yes"]
    with subprocess.Popen(words, env=running.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as watch:
        try:
            eventually_sync(lambda: len(listed(running, "watched/")) == 1)
            (folder / "a.jpg").rename(folder / "b.jpg")
            (folder / "more").mkdir()
            (folder / "more" / "c.jpg").write_bytes(jpeg(7701))
            wanted = {"watched/b.jpg", "watched/more/c.jpg"}
            eventually_sync(
                lambda: {"/".join(one["uri"].split("/")[3:]) for one in listed(running, "watched/")} == wanted
            )
        finally:
            watch.terminate()


@pytest.mark.parametrize("words", [("index", "no such [/b] file"), ("index", ".", "--name", "a/[/b]")])
def test_a_wrong_path_or_name_gets_a_sentence(running, words):
    done = running.command(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("error:")
    assert "[/b]" in done.stderr
