"""`visualsearch index` on folders as people have them, on the real servers."""

import os
import re
import subprocess
import sys

import obstore
import pytest

from tests.conftest import ROOT
from tests.eventually import eventually_sync
from tests.integration.test_rest import search
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
        "rejected": number("rejected in", text),
        "no picture": number("files? (?:is|are) no picture", text),
        "excluded": number("files? excluded", text),
    }


def files_below(root):
    """Count all files, those of the linked folder once."""
    below = sum(len(names) for _, _, names in os.walk(root))
    return below + len(list((root.parent / "outside").iterdir()))


def listed(api, prefix):
    return api.get("/images", params={"prefix": prefix, "limit": 1000}).json()["images"]


def keys(api, prefix):
    return {"/".join(one["uri"].split("/")[3:]) for one in listed(api, prefix)}


def test_each_file_has_one_outcome_and_each_reject_a_reason(running, untidy, bucket):  # noqa: F811
    said = index(running, untidy.root).stdout
    assert outcomes(said) == untidy.outcomes
    assert untidy.outcomes.total() == files_below(untidy.root)
    for name, reason in untidy.rejected.items():
        assert re.search(rf"{re.escape(name)}.*{re.escape(reason)}", said), name
    assert "The key has more than 1024 bytes" in said  # its path takes several lines
    for name in (*untidy.renamed, "linked again", "circle", "above"):
        assert name in said
    assert not {"\x1b", "\udce9"}.intersection(said)
    stored = [one["path"] for page in obstore.list(bucket, "untidy/") for one in page]
    assert len(stored) == untidy.outcomes["indexed"] + 2  # the damaged and the tiny picture
    assert "untidy" not in running.command("reconcile").stdout


def test_a_second_run_does_nothing(running, api, untidy):
    before = listed(api, "untidy/")
    said = index(running, untidy.root).stdout
    assert f"0 indexed, {untidy.outcomes['indexed']} unchanged" in said
    assert outcomes(said) == untidy.outcomes
    assert listed(api, "untidy/") == before
    assert [one["status"] for one in before].count("indexed") == untidy.outcomes["indexed"]


def test_two_cards_with_the_same_names_are_both_searchable(running, api, tmp_path):
    for card, seed in (("cardA", 7500), ("cardB", 7501)):
        (tmp_path / card / "DCIM").mkdir(parents=True)
        (tmp_path / card / "DCIM" / "IMG_0001.JPG").write_bytes(jpeg(seed))
        assert "1 indexed" in index(running, tmp_path / card / "DCIM").stdout
    for seed in (7500, 7501):
        assert search(api, jpeg(seed), k=1).json()["results"][0]["score"] > 0.99


def test_a_watched_folder_is_followed_and_pruned(running, api, tmp_path):
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(7700))
    words = [sys.executable, "-m", "cli.main", "index", str(folder), "--watch", "--prune", "--yes"]
    with subprocess.Popen(words, env=running.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as watch:
        try:
            eventually_sync(lambda: keys(api, "watched/") == {"watched/a.jpg"})
            (folder / "a.jpg").rename(folder / "b.jpg")
            (folder / "more").mkdir()
            (folder / "more" / "c.jpg").write_bytes(jpeg(7701))
            eventually_sync(lambda: keys(api, "watched/") == {"watched/b.jpg", "watched/more/c.jpg"})
        finally:
            watch.terminate()
    (folder / "b.jpg").unlink()
    said = index(running, folder, "--prune", "--yes").stdout
    assert "watched/b.jpg" in said
    assert "1 image removed." in said
    assert search(api, jpeg(7700), k=1).json()["results"][0]["score"] < 0.99
    assert "watched" not in running.command("reconcile").stdout


def test_a_wrong_path_gets_a_sentence(running):
    done = index(running, "no such [/b] file")
    assert done.returncode == 1
    assert done.stderr.startswith("error:")
    assert "[/b]" in done.stderr
