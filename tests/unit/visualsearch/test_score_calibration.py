"""The suggested lowest score, on vectors whose distribution is known."""

import numpy as np
import pytest

from visualsearch.domain.score_calibration import RATE, estimate
from visualsearch.domain.search import VectorRow

SIGNAL = 12
"""Dimensions in which the pictures differ; with few of them, unrelated pictures have high scores now and then."""
BLOCK = 20


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class World:
    """Pictures of folders: those of one folder are alike, and a few are copies of another one."""

    def __init__(self, seed, folders=150, copies=0):
        self.random = np.random.default_rng(seed)
        self.axes = np.random.default_rng(0).normal(size=(SIGNAL, 256))
        self.embeddings = unit(np.concatenate([self.folder() for _ in range(folders)]))
        self.hashes = self.random.integers(0, 2**63, len(self.embeddings), dtype=np.uint64)
        for copy, original in self.random.integers(0, len(self.embeddings), (copies, 2)):
            self.embeddings[copy], self.hashes[copy] = self.embeddings[original], self.hashes[original]

    def folder(self):
        centre = self.random.normal(size=SIGNAL)
        return (centre + 0.7 * self.random.normal(size=(BLOCK, SIGNAL))) @ self.axes

    def blocks(self):
        mirrored = self.random.integers(0, 2**63, len(self.hashes), dtype=np.uint64)
        rows = [
            VectorRow(number, embedding, int(phash), int(other))
            for number, (embedding, phash, other) in enumerate(zip(self.embeddings, self.hashes, mirrored, strict=True))
        ]
        return [rows[begin : begin + BLOCK] for begin in range(0, len(rows), BLOCK)]

    def unrelated(self, other):
        """Scores of the pairs of pictures of two worlds, which share no folder."""
        return self.embeddings @ other.embeddings.T


@pytest.mark.parametrize("seed", range(3))
def test_1_in_1000_pairs_that_were_not_in_the_sample_reach_the_score(seed):
    found = estimate(World(seed).blocks())
    scores = World(seed + 10).unrelated(World(seed + 20))
    assert (scores >= found.score).mean() == pytest.approx(RATE, rel=0.3)
    assert (scores >= found.score + 3 * found.error).mean() <= RATE <= (scores >= found.score - 3 * found.error).mean()
    assert found.pairs == pytest.approx(150 * 149 // 2 * BLOCK**2, abs=5)


def test_the_error_is_about_the_spread_of_estimates_from_other_samples():
    found = [estimate(World(seed, folders=60).blocks()) for seed in range(12)]
    spread = np.std([one.score for one in found])
    assert 0.5 < np.mean([one.error for one in found]) / spread < 2


def test_pictures_of_one_folder_do_not_count():
    found = estimate(World(1).blocks())
    within = [block[0].embedding @ block[1].embedding for block in World(1).blocks()]
    assert np.mean(np.array(within) >= found.score) > 50 * RATE


def test_copies_do_not_count():
    copies = World(1, copies=2000)
    known = estimate(copies.blocks())
    copies.hashes = World(2).hashes  # so that nothing tells that they are copies
    unknown = estimate(copies.blocks())
    assert known.pairs < unknown.pairs - 1000
    assert known.score < unknown.score


def test_many_related_pictures_all_over_the_corpus_do_not_drown_the_others():
    random = np.random.default_rng(5)
    pictures = World(1)
    pictures.embeddings = unit(random.normal(size=pictures.embeddings.shape) + 0.2)
    plain = estimate(pictures.blocks())
    shoes = random.choice(len(pictures.embeddings), len(pictures.embeddings) // 12, replace=False)
    pictures.embeddings[shoes] = unit(5 * pictures.embeddings[0] + 0.1 * random.normal(size=(len(shoes), 256)))
    crowded = estimate(pictures.blocks())
    assert (pictures.embeddings[shoes] @ pictures.embeddings[shoes].T).min() > 0.85
    assert plain.score <= crowded.score < plain.score + 0.25


def test_it_holds_for_candidates_that_a_coarse_index_found_and_that_were_scored_exactly():
    found = estimate(World(1).blocks())
    queries, corpus = World(2).embeddings[::30], World(3).embeddings
    coarse = unit(corpus + np.random.default_rng(4).normal(0, 0.05, corpus.shape))
    candidates = np.argsort(-(queries @ coarse.T), axis=1)[:, :200]
    exact = np.take_along_axis(queries @ corpus.T, candidates, axis=1)
    passing = (exact >= found.score).sum() / (len(queries) * len(corpus))
    assert passing <= 1.5 * RATE


def test_too_few_pictures_give_no_estimate():
    assert estimate([]) is None
    assert estimate([[]]) is None
    assert estimate(World(1, folders=5).blocks()) is None
    assert estimate(World(1, folders=1).blocks()) is None
    assert estimate(World(1, folders=20).blocks()) is not None
