"""The losses agree with slow definitions; two processes learn the same as one with both batches."""

import importlib.util
import math
import os
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None and not os.environ.get("VISUALSEARCH_REQUIRE_TORCH"),
        reason="torch is not installed",
    ),
]


def unit(seed, count, size=8):
    rows = np.random.default_rng(seed).standard_normal((count, size))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_contrast(rows, labels, temperature, kinds=None):
    """Khosla et al., equation 2, as loops; with two views a label, SimCLR's equation 1."""
    total, counted = 0.0, 0
    for i in range(len(rows)):
        positives = [p for p in range(len(rows)) if p != i and labels[p] == labels[i]]
        if not positives:
            continue
        others = [
            a for a in range(len(rows)) if a != i and (kinds is None or kinds[a] != kinds[i] or labels[a] == labels[i])
        ]
        below = sum(math.exp(rows[i] @ rows[a] / temperature) for a in others)
        each = [-math.log(math.exp(rows[i] @ rows[p] / temperature) / below) for p in positives]
        total, counted = total + sum(each) / len(each), counted + 1
    return total / counted


def slow_neighbourhoods(rows, raw, temperature, teacher_temperature):
    total = 0.0
    for i in range(len(rows)):
        others = [j for j in range(len(rows)) if j != i]
        student = [math.exp(rows[i] @ rows[j] / temperature) for j in others]
        cosines = [raw[i] @ raw[j] / np.linalg.norm(raw[i]) / np.linalg.norm(raw[j]) for j in others]
        teacher = [math.exp(cosine / teacher_temperature) for cosine in cosines]
        p, q = np.array(teacher) / sum(teacher), np.array(student) / sum(student)
        total += float((p * np.log(p / q)).sum())
    return total / len(rows)


def tensor(rows):
    import torch

    return torch.from_numpy(np.asarray(rows))


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_nt_xent_agrees_with_its_definition(temperature):
    from training import loss

    rows, labels = unit(0, 12), np.tile(np.arange(6), 2)
    fast = loss.contrastive(tensor(rows), tensor(labels), temperature).item()
    assert fast == pytest.approx(slow_contrast(rows, labels, temperature), rel=1e-5)


def test_drawings_of_one_thing_are_positives_and_related_things_no_negatives():
    from training import loss

    rows, labels = unit(1, 10), np.array([0, 0, 0, 1, 1, 2, 3, 3, 4, 5])
    kinds = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 3])
    fast = loss.contrastive(tensor(rows), tensor(labels), 0.2, kinds=tensor(kinds)).item()
    assert fast == pytest.approx(slow_contrast(rows, labels, 0.2, kinds), rel=1e-5)


def test_the_neighbourhood_loss_agrees_with_its_definition():
    from training import loss

    rows, raw = unit(2, 9), np.random.default_rng(3).standard_normal((9, 20)) ** 2
    fast = loss.neighbourhoods(tensor(rows), tensor(raw), 0.1, 0.07).item()
    assert fast == pytest.approx(slow_neighbourhoods(rows, raw, 0.1, 0.07), rel=1e-4)


def test_a_backbone_has_its_own_neighbourhoods():
    from training import loss

    rows = unit(4, 7)
    assert loss.neighbourhoods(tensor(rows), tensor(rows), 0.1, 0.1).item() == pytest.approx(0, abs=1e-6)


def test_a_batch_in_which_nothing_is_alike_has_no_loss():
    from training import loss

    assert loss.contrastive(tensor(unit(5, 4)), tensor(np.arange(4)), 0.1).item() == 0


def weight_gradient(rows, raw, labels, kinds, weight):
    """The gradient of the whole objective with respect to a linear map, by the joint batch of all processes."""
    import torch

    from training import loss

    weight = weight.clone().requires_grad_()
    embeddings = torch.nn.functional.normalize(rows @ weight, dim=1)
    others = loss.joint(embeddings)
    total = loss.contrastive(embeddings, labels, 0.1, others, loss.joint(labels), kinds, loss.joint(kinds))
    total = total + loss.neighbourhoods(embeddings, raw, 0.1, 0.07, others, loss.joint(raw))
    total.backward()
    return weight.grad


def given():
    import torch

    torch.manual_seed(0)
    rows, raw = torch.randn(16, 6, dtype=torch.float64), torch.rand(16, 9, dtype=torch.float64)
    # One process has more views without a positive than the other.
    labels = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 8, 8, 8, 9])
    kinds = labels // 3
    return rows, raw, labels, kinds, torch.randn(6, 4, dtype=torch.float64)


def one_of_two(rank, meeting, folder):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    rows, raw, labels, kinds, weight = given()
    mine = slice(8 * rank, 8 * rank + 8)
    gradient = weight_gradient(rows[mine], raw[mine], labels[mine], kinds[mine], weight)
    dist.all_reduce(gradient)
    np.save(Path(folder) / f"{rank}.npy", (gradient / 2).numpy())
    dist.destroy_process_group()


def test_two_processes_get_the_gradient_of_one_with_their_joint_batch(tmp_path):
    import torch.multiprocessing as multiprocessing

    multiprocessing.spawn(one_of_two, (str(tmp_path / "meeting"), str(tmp_path)), nprocs=2)
    whole = weight_gradient(*given()).numpy()
    for rank in range(2):
        np.testing.assert_allclose(np.load(tmp_path / f"{rank}.npy"), whole, atol=1e-6)
