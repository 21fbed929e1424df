"""Training runs: a toy run from the command line, resuming, cached features, parts of a batch, bad arguments."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.pictures import jpeg
from visualsearch.domain.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None and not os.environ.get("VISUALSEARCH_REQUIRE_TORCH"),
        reason="torch is not installed",
    ),
]
DIM = 16


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(24):
        (folder / f"{number}.jpg").write_bytes(jpeg(number, 64, 48))
    return folder


@pytest.fixture
def small(monkeypatch):
    """A backbone that takes no time: colours of 8 x 8 patches, through a layer that can be tuned."""
    import torch
    from torch import nn

    from encoders import backbones

    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3 * 64, 32)

        def forward(self, pixels):
            small = nn.functional.avg_pool2d(pixels.permute(0, 3, 1, 2).float(), 28).flatten(1) / 255
            return torch.relu(self.layer(small)) + 0.01

    def load(name, pretrained=""):
        torch.manual_seed(1)
        return backbones.Backbone(name, Patches().eval(), 32, "random", "none")

    monkeypatch.setattr(backbones, "load", load)


def run(pictures, out, **changed):
    from training import config, picture_collection, train

    plain = config.Config(pictures, out, dim=DIM, epochs=4, batch=8, micro_batch=8, lr=1e-2, held_out=0.25)
    given = dataclasses.replace(plain, **changed)
    collection, _ = picture_collection.read(given.data_root)
    return train.Run(given, collection)


@pytest.mark.parametrize("tune", [False, True])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(pictures, small, tmp_path, tune):
    import torch

    whole = run(pictures, tmp_path / "whole", tune=tune).train()
    cut = run(pictures, tmp_path / "cut", tune=tune)
    steps = iter(range(5))

    def stop_within_the_third_epoch(*views):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return type(cut).step(cut, *views)

    cut.step = stop_within_the_third_epoch
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    kept = tmp_path / "cut" / "checkpoint.pt"
    resumed = run(pictures, tmp_path / "cut", tune=tune, resume=kept).train()
    assert torch.equal(whole["projection"]["matrix"], resumed["projection"]["matrix"])
    for name, value in (whole["backbone_state"] or {}).items():
        assert torch.equal(value, resumed["backbone_state"][name])
    lines = (tmp_path / "cut" / "curves.jsonl").read_text()
    assert lines == (tmp_path / "whole" / "curves.jsonl").read_text()


def test_the_parts_of_a_batch_give_the_gradient_of_the_whole(pictures, small, tmp_path):
    import torch

    gradients = []
    for part in (8, 3):
        one = run(pictures, tmp_path, tune=True, micro_batch=part, kinds=0.5)
        rows = one.collection.batches(one.rows, one.config.seed, 0, one.config.batch, one.config.click_ratio)[0]
        (inputs,) = one.source.epoch([rows], 0, 0)
        one.backward(inputs, rows)
        gradients.append([parameter.grad for parameter in one.encoder.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == 3
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("start", ["principal", "within"])
def test_training_on_cached_features_reads_no_picture(pictures, small, tmp_path, monkeypatch, start):
    from training import features, picture_collection

    collection, _ = picture_collection.read(pictures)
    backbone = __import__("encoders.backbones").backbones.load("small")
    kept, complete = features.build(collection, backbone, 3, tmp_path / "features", minutes=0)
    assert not complete
    assert kept.rounds == 0
    kept, complete = features.build(collection, backbone, 3, tmp_path / "features")
    assert complete
    assert kept.rounds == 3
    served = backbone.network(__import__("torch").from_numpy(collection.pictures[5].clean())[None])
    np.testing.assert_allclose(kept.read()[0][5], served[0].detach().numpy(), atol=1e-2)

    one = run(pictures, tmp_path / "out", features=tmp_path / "features", backbone="small", start=start)
    monkeypatch.setattr(picture_collection.Picture, "clean", None)
    monkeypatch.setattr(picture_collection, "augmented", None)
    checkpoint = one.train()
    assert checkpoint["projection"]["matrix"].shape == (DIM, 32)
    assert checkpoint["backbone_state"] is None


def test_a_toy_run_learns_and_leaves_a_checkpoint_curves_and_what_it_skipped(pictures, small, tmp_path):
    import json

    from encoders import checkpoint
    from training import train

    (pictures / "damaged.jpg").write_bytes(b"\xff\xd8\xff")
    words = f"--data_root {pictures} --out {tmp_path} --dim {DIM} --batch 8 --epochs 8 --lr 0.01 --neighbours 0".split()
    assert train.main(words) == 0
    (pictures / "damaged.jpg").unlink()
    assert "damaged.jpg" in (tmp_path / "skipped.txt").read_text()
    checkpoint = checkpoint.load(tmp_path / "checkpoint.pt", dim=DIM)
    assert checkpoint["format"] == 1
    assert checkpoint["arguments"]["epochs"] == 8
    assert checkpoint["data"]["pictures"] == 24
    rows = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "tensorboard").iterdir())


def test_incompatible_arguments_give_a_one_sentence_error(pictures, small, tmp_path, capsys):
    from training import train

    fine = ["--data_root", str(pictures), "--out", str(tmp_path), "--dim", str(DIM), "--epochs", "1", "--batch", "8"]
    assert train.main(fine) == 0
    kept = str(tmp_path / "checkpoint.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "none").mkdir()
    for changed, said in (
        (["--data_root", str(tmp_path / "none")], "can be read"),
        (["--dim", "64"], "a projection to 64"),
        (["--resume", kept, "--backbone", "resnet50"], "of the backbone efficientnet-lite0, not resnet50"),
        (["--resume", kept, "--dim", "8"], "has 16 dimensions, not 8"),
        (["--resume", str(tmp_path / "text.pt")], "is no checkpoint"),
        (["--resume", str(tmp_path / "missing.pt")], "There is no checkpoint"),
        (["--features", str(tmp_path / "none")], "0 rounds"),
        (["--start", "nowhere"], "not from nowhere"),
    ):
        capsys.readouterr()
        assert train.main([*fine, *changed]) == 1, changed
        error = capsys.readouterr().err.strip()
        assert said in error
        assert "\n" not in error


def test_cached_features_of_other_pictures_are_refused(pictures, small, tmp_path):
    from training import features, picture_collection

    collection, _ = picture_collection.read(pictures)
    features.Features(tmp_path, features.about(collection, "small"))
    with pytest.raises(ConfigurationError, match="other pictures or another backbone"):
        features.Features(tmp_path, features.about(collection, "large"))


def test_it_runs_as_a_script_and_in_two_processes(pictures, tmp_path):
    """Real EfficientNet-Lite0; each process holds half of the batch, and only the first one writes."""
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29613"]
    words += [
        "training/train.py",
        "--data_root",
        str(pictures),
        "--epochs",
        "1",
        "--batch",
        "4",
        "--out",
        str(tmp_path),
    ]
    words += ["--dim", str(DIM), "--held_out", "0.6"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "checkpoint.pt").is_file()


def test_pools_of_several_depths_are_the_last_layers_and_earlier_ones():
    import torch

    from encoders import backbones

    pooled, plain = backbones.load(backbones.LITE0_POOLS), backbones.load(backbones.LITE0)
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        features, last = pooled.network(pixels), plain.network(pixels)
    assert features.shape == (2, pooled.features)
    unit = torch.nn.functional.normalize(last, dim=1)
    torch.testing.assert_close(features[:, :1280], 0.5 * unit, atol=1e-5, rtol=1e-4)


def test_a_mixed_projections_similarities_lie_between_both():
    from training import projection_mixing

    chance = np.random.default_rng(0)
    features = (chance.standard_normal((500, 40)) * np.linspace(2, 0.1, 40)).astype(np.float32)
    mean, matrix = features.mean(0), chance.standard_normal((16, 40)).astype(np.float32)

    def cosines(projection):
        rows = (features - mean) @ projection.T
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows @ rows.T)[np.triu_indices(500, 1)]

    trained, alone, half = (
        cosines(matrix),
        *(cosines(projection_mixing.mixed(matrix, mean, features, s)) for s in (0, 1)),
    )
    np.testing.assert_allclose(alone, trained, atol=1e-3)
    principal = cosines(projection_mixing.mixed(matrix, mean, features, 1e6))
    assert np.corrcoef(half, trained)[0, 1] > np.corrcoef(principal, trained)[0, 1]
    assert np.corrcoef(half, principal)[0, 1] > np.corrcoef(trained, principal)[0, 1]
