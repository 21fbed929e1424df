"""Contract of the encoder, tested with the fake, Triton and ONNX Runtime in process."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.encoder import FakeEncoder
from tests.pictures import jpeg
from visualsearch.adapters.onnxruntime.encoder import OnnxRuntimeEncoder
from visualsearch.adapters.triton.encoder import TritonEncoder
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.images import stack_pixels
from visualsearch.imaging.preprocessing import prepare

MODEL = Path(__file__).parents[2] / "model_repository" / "image_encoder"
UNKNOWN = 99


@pytest.fixture(params=["fake", "onnx", pytest.param("triton", marks=pytest.mark.stack)])
async def encoder(request):
    if request.param == "fake":
        yield FakeEncoder()
        return
    if request.param == "onnx":
        real = OnnxRuntimeEncoder(MODEL)
    else:
        settings = request.getfixturevalue("stack")
        real = TritonEncoder(settings.triton_grpc, settings.model_name, 10.0, MODEL)
    yield real
    await real.close()


def pixels(*seeds):
    return stack_pixels([prepare(jpeg(seed)) for seed in seeds])


async def test_embeddings_are_float32_of_unit_length(encoder):
    embeddings = await encoder.encode(pixels(1, 2, 3), 1)
    assert (embeddings.shape, embeddings.dtype) == ((3, 256), np.float32)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-4)


async def test_a_picture_has_the_same_embedding_in_every_batch(encoder):
    alone = await encoder.encode(pixels(4), 1)
    among = await encoder.encode(pixels(5, 4, 6), 1)
    assert among[1] == pytest.approx(alone[0], abs=1e-5)
    assert not np.allclose(among[0], among[1])


async def test_a_batch_larger_than_the_models_limit_is_embedded_in_order(encoder):
    batch = np.repeat(pixels(7, 8), 50, axis=0)
    embeddings = await encoder.encode(batch, 1)
    assert len(embeddings) == 100
    assert embeddings[0] == pytest.approx(embeddings[49], abs=1e-5)
    assert embeddings[50] == pytest.approx(embeddings[99], abs=1e-5)
    assert not np.allclose(embeddings[49], embeddings[50])


async def test_no_pictures_give_no_embeddings(encoder):
    assert (await encoder.encode(np.empty((0, 224, 224, 3), np.uint8), 1)).shape == (0, 256)


async def test_concurrent_requests_are_not_mixed_up(encoder):
    seeds = range(10, 26)
    alone = await encoder.encode(pixels(*seeds), 1)
    together = await asyncio.gather(*(encoder.encode(pixels(seed), 1) for seed in seeds))
    assert np.concatenate(together) == pytest.approx(alone, abs=1e-5)


async def test_feature_maps_localize_objects_and_do_not_change_embeddings(encoder):
    batch = pixels(1, 2)
    alone = await encoder.encode(batch, 1)
    maps, embeddings = await asyncio.gather(encoder.feature_map(batch, 1), encoder.encode(batch, 1))
    assert (maps.ndim, len(maps), maps.dtype) == (4, 2, np.float32)
    assert min(maps.shape[2:]) > 1
    assert embeddings == pytest.approx(alone, abs=1e-5)
    changed = batch.copy()
    changed[:, :, 192:] = 0
    by_column = np.abs(await encoder.feature_map(changed, 1) - maps).mean((0, 1, 2))
    assert by_column[-3:].mean() > 1.5 * by_column[:3].mean()


async def test_a_check_of_a_working_server_raises_nothing(encoder):
    assert await encoder.check(1) is None


async def test_a_version_that_is_not_loaded_is_unavailable(encoder):
    with pytest.raises(Unavailable):
        await encoder.check(UNKNOWN)
    with pytest.raises(Unavailable):
        await encoder.encode(pixels(1), UNKNOWN)


async def test_the_fingerprint_is_sha256_in_hex_and_empty_for_an_unknown_version(encoder):
    assert len(bytes.fromhex(await encoder.fingerprint(1))) == 32
    assert await encoder.fingerprint(UNKNOWN) == ""


@pytest.mark.stack
async def test_triton_and_onnx_runtime_in_process_agree(stack):
    served, local = TritonEncoder(stack.triton_grpc, stack.model_name, 10.0), OnnxRuntimeEncoder(MODEL)
    batch = pixels(*range(30, 46))
    ours, theirs = await served.encode(batch, 1), await local.encode(batch, 1)
    assert np.sum(ours * theirs, axis=1).min() > 0.9999
    await served.close()
    await local.close()


async def test_a_missing_triton_raises_unavailable():
    encoder = TritonEncoder("127.0.0.1:1", "image_encoder", 1.0)
    with pytest.raises(Unavailable):
        await encoder.check(1)
    await encoder.close()
