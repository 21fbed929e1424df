"""The shipped encoder agrees with its card and with torch; new versions are published atomically."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput

from export.publish import card, main, publish
from tests.pictures import jpeg
from tests.reference_pictures import MODEL, REFERENCE, pixels, torch_embeddings
from visualsearch.adapters.triton.model_config import read_config
from visualsearch.domain.errors import ConfigurationError
from visualsearch.domain.images import EMBEDDING_DIM
from visualsearch.imaging.preprocessing import PREPROCESSING, fingerprint

REPOSITORY = MODEL.parents[2]
ALIKE = 0.9999
"""Least cosine similarity of two runtimes' embeddings of one picture."""

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None and not os.environ.get("VISUALSEARCH_REQUIRE_TORCH"),
    reason="torch is not installed",
)


def embed(model: bytes, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["embedding"], {"pixels": batch})[0]


def feature_maps(model: bytes, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["feature_map"], {"pixels": batch})[0]


def without_map(model: bytes) -> bytes:
    """The same encoder as one that was exported without a feature map."""
    graph = onnx.load_from_string(model)
    del graph.graph.output[1:]
    return bytes(graph.SerializeToString())


@pytest.fixture(scope="module")
def shipped() -> bytes:
    return MODEL.read_bytes()


@pytest.fixture(scope="module")
def reference() -> tuple[np.ndarray, np.ndarray]:
    """Pixels and torch's embeddings of 100 demo pictures."""
    with np.load(REFERENCE) as stored:
        embeddings = stored["embeddings"].astype(np.float32)
        return pixels(stored["names"].tolist()), embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


@pytest.fixture
def repository(tmp_path) -> Path:
    (tmp_path / "image_encoder").mkdir()
    shutil.copy(REPOSITORY / "image_encoder" / "config.pbtxt", tmp_path / "image_encoder")
    return tmp_path


def test_the_shipped_encoder_agrees_with_torch_on_100_pictures(shipped, reference):
    batch, wanted = reference
    similarity = (embed(shipped, batch) * wanted).sum(1)
    assert len(similarity) == 100
    assert similarity.min() >= ALIKE


@pytest.mark.stack
def test_triton_agrees_with_torch_on_pictures(stack, reference):
    batch, wanted = (part[:32] for part in reference)
    with InferenceServerClient(stack.triton_grpc) as client:
        given = InferInput("pixels", batch.shape, "UINT8").set_data_from_numpy(batch)
        answer = client.infer(stack.model_name, [given], model_version=str(stack.model_version))
    assert (answer.as_numpy("embedding") * wanted).sum(1).min() >= ALIKE


@pytest.mark.torch
@needs_torch
def test_torch_still_computes_the_reference_embeddings(reference):
    batch, stored = reference
    assert (torch_embeddings(batch) * stored).sum(1).min() >= ALIKE


@pytest.mark.torch
@needs_torch
def test_an_open_clip_model_is_exported_by_the_same_command(tmp_path):
    import torch

    from encoders import backbones, onnx_conversion, projection
    from export import to_onnx

    out = tmp_path / "clip.onnx"
    assert to_onnx.main([str(out), "--backbone", "ViT-S-32-alt"]) == 0
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["backbone"]["name"] == "ViT-S-32-alt"
    batch = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    assert embed(out.read_bytes(), batch).shape == (3, EMBEDDING_DIM)

    backbone = backbones.load("ViT-S-32-alt")
    encoder = onnx_conversion.ProjectedBackbone(
        backbone, projection.orthogonal(backbone.features, EMBEDDING_DIM, 0)
    ).eval()
    with torch.inference_mode():
        wanted, feature_map = (part.numpy() for part in encoder(torch.from_numpy(batch)))
    exported = onnx_conversion.to_onnx(encoder)
    assert (embed(exported, batch) * wanted).sum(1).min() >= ALIKE
    given = feature_maps(exported, batch)
    assert given.shape == feature_map.shape == (3, 384, 7, 7)
    np.testing.assert_allclose(given, feature_map, atol=1e-3)


@pytest.mark.torch
@needs_torch
@pytest.mark.parametrize(
    ("name", "shape"), [("efficientnet-lite0", (1, 1280, 7, 7)), ("resnet50", (1, 2048, 7, 7)), ("RN50", None)]
)
def test_a_backbone_gives_a_feature_map_if_it_has_one(name, shape):
    import torch

    from encoders import backbones

    with torch.inference_mode():
        features, feature_map = backbones.load(name).network.with_map(torch.zeros((1, 224, 224, 3), dtype=torch.uint8))
    assert features.shape[0] == 1
    assert (feature_map if feature_map is None else tuple(feature_map.shape)) == shape


@pytest.mark.torch
@needs_torch
def test_a_projection_needs_more_pictures_than_dimensions(tmp_path, capsys):
    from export import to_onnx

    assert to_onnx.main([str(tmp_path / "x.onnx"), "--fit", f"none={tmp_path}"]) == 1
    assert "256" in capsys.readouterr().err


def test_a_picture_is_embedded_the_same_alone_and_in_any_batch(shipped, reference):
    batch, _ = reference
    whole = embed(shipped, batch[:32])
    for some in (slice(0, 1), slice(5, 12)):
        assert embed(shipped, batch[some]) == pytest.approx(whole[some], abs=1e-5)


def test_embeddings_are_of_unit_length_even_for_blank_pictures(shipped):
    blank = np.stack([np.full((224, 224, 3), value, np.uint8) for value in (0, 127, 255)])
    assert np.linalg.norm(embed(shipped, blank), axis=1) == pytest.approx(1, abs=1e-5)


def test_the_shipped_file_contains_nothing_about_the_machine_that_made_it(shipped):
    graph = onnx.load_from_string(shipped).graph
    assert not any(node.metadata_props or node.doc_string for node in graph.node)
    assert not re.search(rb"(/home/|/root/|site-packages)", shipped)


def test_the_card_describes_the_shipped_file(shipped):
    described = json.loads((MODEL.parent / "card.json").read_text())
    assert described["fingerprint"] == fingerprint(shipped)
    assert described["graph_sha256"] == hashlib.sha256(shipped).hexdigest()
    assert described["preprocessing"] == PREPROCESSING
    assert described["output"]["shape"] == ["n", EMBEDDING_DIM]
    assert described["feature_map"] == [1280, 7, 7]
    assert re.fullmatch(r"\d+\.\d+\.\d+", described["semver"])
    assert described["backbone"]["licence"]
    assert all(count > 0 for count in described["projection"]["fitted_on"].values())
    assert described["metrics"]


def test_publishing_adds_a_version_and_names_it_for_triton(repository, shipped):
    for version in (1, 3):
        folder = publish(shipped, card(shipped, "0.2.0", {}, {}), repository, version)
    assert folder == repository / "image_encoder" / "3"
    assert (folder / "model.onnx").read_bytes() == shipped
    assert json.loads((folder / "card.json").read_text())["fingerprint"] == fingerprint(shipped)
    config = read_config(repository / "image_encoder" / "config.pbtxt")
    assert list(config.version_policy.specific.versions) == [1, 3]
    assert sorted(one.name for one in (repository / "image_encoder").iterdir()) == ["1", "3", "config.pbtxt"]


def test_publishing_changes_nothing_else_of_the_configuration(repository, shipped):
    config = repository / "image_encoder" / "config.pbtxt"
    before = config.read_text()
    publish(shipped, {}, repository, 1)
    assert config.read_text() == before


def test_the_mean_of_the_shipped_feature_map_is_what_the_encoder_averages(shipped, reference):
    batch, _ = reference
    maps = feature_maps(shipped, batch[:2])
    assert (maps.shape, maps.dtype) == ((2, 1280, 7, 7), np.float32)
    graph = onnx.load_from_string(shipped)
    graph.graph.output.append(onnx.helper.make_tensor_value_info("mean_5", onnx.TensorProto.FLOAT, ["n", 1280]))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["mean_5"], {"pixels": batch[:2]})[0], maps.mean((2, 3)), atol=1e-5)


def test_an_encoder_without_a_feature_map_is_published_and_then_none_is_offered(repository, shipped):
    config = repository / "image_encoder" / "config.pbtxt"
    comments, offered = config.read_text().partition("\nname:")[0], read_config(config)
    publish(shipped, card(shipped, "1.1.0", {}, {}), repository, 1)
    bare = without_map(shipped)
    folder = publish(bare, card(bare, "1.2.0", {}, {}), repository, 2)
    assert json.loads((folder / "card.json").read_text())["feature_map"] is None
    assert "feature_map" not in config.read_text()
    assert config.read_text().startswith(comments)
    del offered.output[1]
    offered.version_policy.specific.versions.append(2)
    assert read_config(config) == offered


def test_a_version_is_never_overwritten(repository, shipped):
    publish(shipped, {}, repository, 1)
    with pytest.raises(ConfigurationError, match="higher number"):
        publish(shipped, {}, repository, 1)


@pytest.mark.parametrize(
    "damage", [lambda model: b"", lambda model: b"no model", lambda model: model[: len(model) // 2]]
)
def test_a_damaged_model_is_not_published(repository, shipped, damage):
    with pytest.raises(ConfigurationError, match="ONNX Runtime"):
        publish(damage(shipped), {}, repository, 1)
    assert [one.name for one in (repository / "image_encoder").iterdir()] == ["config.pbtxt"]


def test_a_model_of_another_dimension_is_not_published(repository):
    pixels_in = onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["n", 224, 224, 3])
    out = onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["n", 224, 3])
    nodes = [
        onnx.helper.make_node("Cast", ["pixels"], ["float"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMean", ["float", "axis"], ["embedding"], keepdims=0),
    ]
    axis = onnx.helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1])
    graph = onnx.helper.make_graph(nodes, "g", [pixels_in], [out], [axis])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    with pytest.raises(ConfigurationError, match="256"):
        publish(model.SerializeToString(), {}, repository, 1)


def test_the_command_publishes_what_to_onnx_wrote(repository, shipped, tmp_path, capsys):
    file = tmp_path / "encoder.onnx"
    file.write_bytes(shipped)
    file.with_suffix(".json").write_text('{"backbone": {"name": "x"}}')
    (tmp_path / "picture.jpg").write_bytes(jpeg(1, 64, 48))
    words = [str(file), "--version", "2", "--semver", "0.2.0", "--repository", str(repository)]
    words += ["--pictures", str(tmp_path)]
    assert main(words) == 0
    published = json.loads((repository / "image_encoder" / "2" / "card.json").read_text())
    assert published["backbone"] == {"name": "x"}
    assert 0 < published["near_duplicates"]["cosine"] < 1
    assert main(words) == 1
    assert "higher number" in capsys.readouterr().err
