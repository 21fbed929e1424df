"""Evaluation through the running gateway agrees with exact search, except for the loss of approximation."""

import json
import shutil
from pathlib import Path

import pytest

from evaluation.offline import evaluate, exact_ranking, gateway_ranking
from evaluation.offline.embeddings import onnx_embed
from evaluation.offline.report import judge
from evaluation.offline.sets import EvaluationSet, from_folders
from visualsearch.client import Client
from visualsearch.domain.errors import InvalidInput

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "demo" / "pictures"
MODEL = ROOT / "model_repository" / "image_encoder" / "1" / "model.onnx"


@pytest.fixture(scope="module")
def asked() -> EvaluationSet:
    """Every fiftieth demo picture against the whole demo corpus."""
    whole = from_folders(PICTURES)
    queries = dict(list(whole.queries.items())[::50])
    grades = {query: whole.grades[query] for query in queries}
    return EvaluationSet("demo", queries, whole.corpus, grades, whole.groups)


def test_the_gateway_ranks_almost_as_exact_search_does(demo_stack, asked):
    exact, _ = exact_ranking.exact(asked, onnx_embed(MODEL))
    with Client(demo_stack.url) as client:
        served, refused = gateway_ranking.ranked(asked, client)
    assert refused == {}
    assert all(query not in {name for name, _ in found} for query, found in served.items())
    ours, theirs = judge(exact, asked.grades), judge(served, asked.grades)
    assert abs(ours.difference(theirs).mean) < 0.02
    overlap = [len({n for n, _ in exact[q][:10]} & {n for n, _ in served[q][:10]}) / 10 for q in asked.queries]
    assert sum(overlap) / len(overlap) > 0.95


def test_the_command_asks_the_gateway(demo_stack, tmp_path):
    few = tmp_path / "pictures"
    for category in ("animals", "food"):
        (few / category).mkdir(parents=True)
        for file in sorted((PICTURES / category).iterdir())[:5]:
            shutil.copy(file, few / category)
    assert (
        evaluate.main([str(few), "--gateway", "--url", demo_stack.url, "--json", str(tmp_path / "figures.json")]) == 0
    )
    figures = json.loads((tmp_path / "figures.json").read_text())["pictures"]["gateway"]
    assert len(figures["queries"]) == 10
    assert figures["overall"]["ndcg@10"]["mean"] > 0.1  # other pictures of the corpus take places


def test_a_gateway_without_the_pictures_is_distinguished_from_a_bad_ranking(demo_stack, tmp_path):
    from tests.pictures import jpeg

    for name in ("one", "two"):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"never-indexed-{name}.jpg").write_bytes(jpeg(99))
    with Client(demo_stack.url) as client, pytest.raises(InvalidInput, match="visualsearch index"):
        gateway_ranking.ranked(from_folders(tmp_path), client)
