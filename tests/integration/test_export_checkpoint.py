"""Encoders exported from checkpoints, with rotations and other precisions; bad input gives a one-sentence error."""

import importlib.util
import json
import os

import numpy as np
import onnxruntime
import pytest

from encoders.projection import Projection
from export import publish as publishing
from tests.pictures import jpeg
from tests.reference_pictures import MODEL, REFERENCE, pixels
from visualsearch.domain.errors import ConfigurationError

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None and not os.environ.get("VISUALSEARCH_REQUIRE_TORCH"),
        reason="torch is not installed",
    ),
]
LITE0, FEATURES = "efficientnet-lite0", 1280


def embed(model, batch):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["embedding"], {"pixels": batch})[0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint as training writes it, with a random projection."""
    import torch

    chance = np.random.default_rng(0)
    content = {
        "format": 1,
        "backbone": LITE0,
        "dim": 256,
        "projection": {
            "matrix": torch.from_numpy(chance.standard_normal((256, FEATURES), np.float32)),
            "mean": torch.from_numpy(chance.standard_normal(FEATURES, np.float32)),
        },
        "backbone_state": None,
        "arguments": {"epochs": 5, "seed": 3},
        "data": {"pictures": 7},
        "resume": {},
    }
    file = tmp_path_factory.mktemp("training") / "checkpoint.pt"
    torch.save(content, file)
    return file, content


@pytest.fixture
def changed(checkpoint, tmp_path):
    """Write the checkpoint with some fields changed."""
    import torch

    def change(**fields):
        torch.save({**checkpoint[1], **fields}, tmp_path / "changed.pt")
        return tmp_path / "changed.pt"

    return change


@pytest.fixture(scope="module")
def plain(checkpoint, tmp_path_factory):
    """What the command made of the checkpoint."""
    from export import to_onnx

    out = tmp_path_factory.mktemp("plain") / "encoder.onnx"
    assert to_onnx.main([str(out), "--checkpoint", str(checkpoint[0])]) == 0
    return out


@pytest.fixture(scope="module")
def batch():
    with np.load(REFERENCE) as stored:
        return pixels(stored["names"].tolist()[:20])


def test_a_checkpoint_becomes_an_encoder_that_torch_agrees_with(checkpoint, plain, batch):
    import torch

    from encoders import backbones

    file, content = checkpoint
    with torch.inference_mode():
        features = backbones.load(LITE0).network(torch.from_numpy(batch))
        wanted = (features - content["projection"]["mean"]) @ content["projection"]["matrix"].T
        wanted = torch.nn.functional.normalize(wanted, dim=1).numpy()
    assert (embed(plain.read_bytes(), batch) * wanted).sum(1).min() >= 0.9999
    about = json.loads(plain.with_suffix(".json").read_text())
    assert about["training"]["arguments"] == content["arguments"]
    assert about["training"]["data"] == content["data"]
    assert len(about["training"]["checkpoint_sha256"]) == 64
    assert about["export"]["arguments"] == [str(plain), "--checkpoint", str(file)]


def test_a_rotation_changes_no_similarity(checkpoint, plain, tmp_path, batch):
    from export import opq, to_onnx

    out = tmp_path / "rotated.onnx"
    square, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((256, 256)))
    opq.write(square.astype(np.float32), tmp_path / "rotation.npz")
    words = ["--checkpoint", str(checkpoint[0])]
    assert to_onnx.main([str(out), *words, "--rotate", str(tmp_path / "rotation.npz")]) == 0
    before, after = (embed(file.read_bytes(), batch) for file in (plain, out))
    assert not np.allclose(before, after, atol=0.01)
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)


def test_a_learned_rotation_is_orthogonal_and_lowers_the_error_of_product_quantisation():
    import faiss

    from export import opq

    chance = np.random.default_rng(0)
    # Directions of uneven size, all in the first subvectors: what a PCA leaves behind.
    embeddings = (chance.standard_normal((10_000, 16)) * np.geomspace(1, 0.01, 16)).astype(np.float32)
    rotation = opq.learned(embeddings, 4, rounds=5)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(16), atol=1e-5)

    def lost(vectors):
        quantiser = faiss.ProductQuantizer(16, 4, 8)
        quantiser.train(vectors)
        return float(((quantiser.decode(quantiser.compute_codes(vectors)) - vectors) ** 2).mean())

    assert lost(embeddings @ rotation.T) < 0.8 * lost(embeddings)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"dim": 128}, "gives 128 dimensions; an encoder must give 256"),
        ({"backbone": "resnet50"}, "resnet50 gives 2048 features"),
        ({"backbone": "no-such-net"}, "no backbone 'no-such-net'"),
        ({"format": 9}, "format 9"),
        ({"backbone_state": {"network.conv1": None}}, "another architecture than efficientnet-lite0"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(changed, tmp_path, fields, complaint, capsys):
    from export import to_onnx

    assert to_onnx.main([str(tmp_path / "x.onnx"), "--checkpoint", str(changed(**fields))]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--checkpoint", "text.txt"], "is no checkpoint"),
        (["--checkpoint", "nowhere.pt"], "no checkpoint nowhere.pt"),
        (["--projection", "none"], "gives 1280 features; with no projection it must give 256"),
        (["--backbone", "ViT-B-33"], "similar or usual ones are: ViT-B-32"),
        (["--backbone", "ViT-S-32-alt", "--pretrained", "nowhere"], "a file of such weights"),
        (["--backbone", "resnet50", "--pretrained", "nowhere"], "no file of weights nowhere"),
        (["--backbone", "resnet50", "--pretrained", "text.txt"], "no file of weights that torch can read"),
        (["--projection", "orthogonal", "--rotate", "text.txt"], "holds no rotation"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, monkeypatch, words, complaint, capsys):
    from export import to_onnx

    (tmp_path / "text.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    assert to_onnx.main(["x.onnx", *words]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_weights_of_another_architecture_are_refused(tmp_path):
    import torch

    from encoders import backbones

    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ConfigurationError, match="another architecture than resnet50"):
        backbones.load("resnet50", str(tmp_path / "weights.pt"))


def test_resnet50_takes_weights_from_a_file(tmp_path, batch):
    import torch

    from encoders import backbones

    random = backbones.load("resnet50")
    state = {name.removeprefix("network."): value for name, value in random.network.state_dict().items()}
    whole = {name: value for name, value in state.items() if not name.startswith("pixels")}
    whole |= {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    torch.save(whole, tmp_path / "resnet50.pth")
    loaded = backbones.load("resnet50", str(tmp_path / "resnet50.pth"))
    assert (loaded.features, loaded.weights) == (2048, "resnet50.pth")
    with torch.inference_mode():
        given, wanted = (one.network(torch.from_numpy(batch[:2])) for one in (loaded, random))
    assert given.shape == (2, 2048)
    assert torch.equal(given, wanted)


def test_fp16_passes_the_gate_and_int8_of_this_network_is_refused_with_the_reason(tmp_path, capsys):
    from export import variants

    (tmp_path / "encoder.onnx").write_bytes(MODEL.read_bytes())
    for seed in range(12):
        for number in range(3):
            file = tmp_path / "pictures" / str(seed) / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(jpeg(seed, 200 + 60 * number, 240))
    folder = str(tmp_path / "pictures")
    words = [str(tmp_path / "encoder.onnx"), "--judge", folder, "--calibrate", folder]
    assert variants.main([*words, "--kinds", "fp16"]) == 0
    half = tmp_path / "encoder.fp16.onnx"
    assert half.stat().st_size < 0.6 * MODEL.stat().st_size
    assert json.loads(half.with_suffix(".json").read_text())["variant"]["cosine"] >= variants.MIN_COSINE
    publishing.check(half.read_bytes())
    assert variants.main([*words, "--kinds", "int8"]) == 1
    assert "int8 is refused: its mean cosine" in capsys.readouterr().err
    assert not (tmp_path / "encoder.int8.onnx").exists()
    assert variants.main([*words[:3], "--kinds", "int8"]) == 1
    assert "--calibrate" in capsys.readouterr().err


def test_a_projection_is_rotated_only_by_a_rotation_of_its_size():
    from export import opq

    with pytest.raises(ConfigurationError, match="does not fit"):
        opq.folded(Projection(np.zeros((4, 8), np.float32), np.zeros(8, np.float32), ""), np.eye(3, dtype=np.float32))
    with pytest.raises(ConfigurationError, match="evenly"):
        opq.learned(np.zeros((10, 256), np.float32), 33)
    with pytest.raises(ConfigurationError, match="too few"):
        opq.learned(np.zeros((10, 256), np.float32), 32)
