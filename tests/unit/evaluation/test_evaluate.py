"""Evaluation of folders, TREC files and bad input: the output of the command."""

import json
import re
from urllib.parse import quote

import numpy as np
import pytest

from evaluation.offline import evaluate, exact_ranking, gateway_ranking, trec
from evaluation.offline.baselines import colours, phash
from evaluation.offline.sets import from_folders, from_qrels
from tests.pictures import jpeg
from visualsearch.domain.errors import InvalidInput, Unavailable


@pytest.fixture
def folder(tmp_path):
    """Three categories of four pictures; the four are one picture, re-compressed and resized."""
    for seed, category in enumerate(("animals/birds", "animals/fish", "plants")):
        (tmp_path / "pictures" / category).mkdir(parents=True)
        for number in range(4):
            file = tmp_path / "pictures" / category / f"{number}.jpg"
            file.write_bytes(jpeg(seed, 320 + 20 * number, 240))
    return tmp_path / "pictures"


def unit(pixels):
    """Embed by a coarse look at the colours, which tells the categories of the fixture apart."""
    small = pixels[:, ::28, ::28].reshape(len(pixels), -1).astype(np.float32) - 127
    return small / np.linalg.norm(small, axis=1, keepdims=True)


def test_category_folders_give_grades_by_the_folders_shared(folder):
    one = from_folders(folder)
    assert len(one.queries) == len(one.corpus) == 12
    judged = one.grades["animals/birds/0.jpg"]
    assert "animals/birds/0.jpg" not in judged
    assert (judged["animals/birds/1.jpg"], judged["animals/fish/1.jpg"], "plants/1.jpg" in judged) == (2, 1, False)
    assert one.groups["animals/fish/2.jpg"] == "animals"


def test_a_ranking_of_like_before_unlike_scores_one(folder):
    report, skipped = evaluate.on_set(from_folders(folder), unit)
    assert skipped == {}
    assert report.overall["ndcg@10"].mean > 0.95
    assert set(report.by_group) == {"animals", "plants"}
    assert report.by_group["plants"]["ndcg@10"].queries == 4


def test_a_query_never_finds_itself(folder):
    run, _ = exact_ranking.exact(from_folders(folder), unit)
    assert all(query not in {name for name, _ in found} for query, found in run.items())
    assert all(len(found) == 11 for found in run.values())


def test_equal_names_in_two_folders_are_two_pictures(tmp_path):
    for side in ("queries", "corpus"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "a.jpg").write_bytes(jpeg(1))
    one = from_qrels({"a.jpg": {"a.jpg": 5}}, tmp_path / "queries", tmp_path / "corpus")
    report, _ = evaluate.on_set(one, unit)
    assert report.overall["recall@1"].mean == 1


def test_unreadable_pictures_are_counted_listed_and_left_out(folder, capsys):
    (folder / "plants" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "plants" / "text.jpg").write_bytes(b"hello")
    report, skipped = evaluate.on_set(from_folders(folder), unit)
    assert set(skipped) == {"plants/broken.png", "plants/text.jpg"}
    assert len(report.per_query) == 12


def test_the_command_judges_a_folder_and_writes_all_that_is_asked_for(folder, tmp_path, capsys):
    (folder / "plants" / "broken.png").write_bytes(b"no picture")
    page, run, figures = tmp_path / "worst.html", tmp_path / "a.run", tmp_path / "figures.json"
    words = [str(folder), "--gallery", str(page), "--save-run", str(run), "--json", str(figures)]
    assert evaluate.main(words) == 0
    shown = capsys.readouterr().out
    assert "are skipped: 1" in shown
    assert "plants/broken.png" in shown
    assert "ndcg@10" in shown
    stored = json.loads(figures.read_text())["pictures"]["version 1"]
    assert stored["overall"]["ndcg@10"]["low"] <= stored["overall"]["ndcg@10"]["mean"]
    assert len(stored["queries"]) == len(trec.read_run(run)) == 12
    html = page.read_text()
    assert html.count("<section>") == 12
    assert not re.search(r'(?:src|href)="(?!data:)', html)


def test_a_saved_ranking_is_judged_the_same_again(folder, tmp_path, capsys):
    one = from_folders(folder)
    found, _ = exact_ranking.exact(one, unit)
    trec.write_run(found, tmp_path / "a.run", "a name")
    judged = [f"{quote(q)} 0 {quote(d)} {grade}\n" for q, grades in one.grades.items() for d, grade in grades.items()]
    (tmp_path / "a.qrels").write_text("".join(judged))
    assert trec.read_qrels(tmp_path / "a.qrels") == one.grades
    words = ["--qrels", str(tmp_path / "a.qrels"), "--run", str(tmp_path / "a.run"), "--json", str(tmp_path / "j")]
    assert evaluate.main(words) == 0
    again = json.loads((tmp_path / "j").read_text())["a.run"]["a"]["queries"]
    report, _ = evaluate.on_set(one, unit)
    for query, values in report.per_query.items():
        assert again[query] == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("q 0 d 5\nq 0 d\n", "line 2: it must be `query 0 document grade`, but has 3 fields"),
        ("q 0 d six\n", "line 1: the grade 'six' must be a whole number from 0 to 5"),
        ("q 0 d 6\n", "line 1: the grade '6' must be"),
        ("\nq 0 d 1\nq 0 d 2\n", "line 3: d is judged a second time"),
        ("", "holds no judgement"),
    ],
)
def test_malformed_judgements_are_reported_with_file_and_line(tmp_path, text, complaint, capsys):
    (tmp_path / "x.qrels").write_text(text)
    (tmp_path / "x.run").write_text("q Q0 d 1 0.5 name\n")
    assert evaluate.main(["--qrels", str(tmp_path / "x.qrels"), "--run", str(tmp_path / "x.run")]) == 1
    said = capsys.readouterr().err
    assert "x.qrels" in said
    assert complaint in said


@pytest.mark.parametrize("line", ["q Q0 d 1 high name", "q Q0 d 1 0.5", "q Q0 d 1 0.5 n\nq Q0 d 2 0.4 n"])
def test_a_malformed_ranking_is_reported_with_file_and_line(tmp_path, line):
    (tmp_path / "x.run").write_text(line)
    with pytest.raises(InvalidInput, match=r"x\.run, line \d"):
        trec.read_run(tmp_path / "x.run")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["empty"], "holds no JPEG, PNG or WebP picture"),
        (["flat"], "no two pictures share a folder"),
        (["nowhere"], "is no folder"),
        ([], "Name a FOLDER"),
        (["flat", "--model", "nowhere.onnx"], "nowhere.onnx is missing"),
        (["flat", "--model", "flat/a.jpg"], "is no ONNX model"),
        (["--run", "x.run"], "--run needs --qrels"),
        (["--public", "paintings"], "no public set paintings"),
        (["flat", "-k", "0"], "-k must be from 1 to 100"),
        (["flat", "--gateway", "--url", "http://127.0.0.1:1"], "share a folder"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, monkeypatch, words, complaint, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.jpg").write_bytes(jpeg(1))
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(words) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_an_unreachable_gateway_is_reported(folder, capsys, monkeypatch):
    monkeypatch.setattr(gateway_ranking, "PAUSES_S", (0.0,))
    assert evaluate.main([str(folder), "--gateway", "--url", "http://127.0.0.1:1"]) == 1
    assert "visualsearch up" in capsys.readouterr().err


class Busy:
    """A gateway that has no time for the first searches, and then always finds the same."""

    def __init__(self, refusals):
        self.refusals = refusals

    def search(self, file, **_):
        self.refusals -= 1
        if self.refusals >= 0:
            raise Unavailable("Milvus", "no answer within 1.8 s")
        return {"results": [{"uri": "s3://images/pictures/plants/1.jpg", "score": 0.9}]}


def test_a_busy_gateway_is_retried(folder, monkeypatch):
    monkeypatch.setattr(gateway_ranking, "PAUSES_S", (0.0, 0.0))
    run, refused = gateway_ranking.ranked(from_folders(folder), Busy(2))
    assert len(run) == 12
    assert not refused
    with pytest.raises(Unavailable, match=r"no answer within 1\.8 s"):
        gateway_ranking.ranked(from_folders(folder), Busy(3))


def test_uris_are_matched_by_the_longest_common_end(folder):
    names = gateway_ranking.by_file_name(from_folders(folder).corpus)
    assert gateway_ranking.named("s3://images/pictures/animals/fish/2.jpg", names) == "animals/fish/2.jpg"
    assert gateway_ranking.named("s3://images/other/9.jpg", names) == ""


def test_two_models_are_compared_query_by_query(folder):
    one = from_folders(folder)
    good, _ = evaluate.on_set(one, unit)
    bad, _ = evaluate.on_set(one, colours)
    difference = good.difference(bad)
    assert difference.mean == pytest.approx(good.overall["ndcg@10"].mean - bad.overall["ndcg@10"].mean)
    assert difference.low <= difference.mean <= difference.high


@pytest.mark.parametrize("baseline", [phash, colours])
def test_baselines_give_unit_vectors_that_know_the_same_picture(folder, baseline):
    report, _ = evaluate.on_set(from_folders(folder), baseline)
    assert report.overall["recall@1"].mean == pytest.approx(1 / 7 * 2 / 3 + 1 / 3 / 3)
    rows = baseline(np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_phash_similarity_is_hamming_distance():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    one, other = phash(pixels)
    differing = int((np.sign(one) != np.sign(other)).sum())
    assert one @ other == pytest.approx(1 - differing / 32)
