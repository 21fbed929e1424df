"""The losses: attract views of the same subject, repel the others, and preserve the backbone's neighbourhoods.

A process embeds ``n`` views at a time. Under torchrun these are ``n`` of ``N``, and the views of the other processes
serve as negatives.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.nn import functional

FAR = -1e4
"""Replaces minus infinity where the value must be finite in half precision."""


def contrastive(
    embeddings: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    others: torch.Tensor | None = None,
    other_labels: torch.Tensor | None = None,
    kinds: torch.Tensor | None = None,
    other_kinds: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the NT-Xent loss, a mean over views, of unit embeddings [n, d] with labels [n].

    The positives of a view are the other views of its label. With two views per label this is NT-Xent (InfoNCE) of
    SimCLR (Chen et al., 2020, equation 1); with more it is L_out of supervised contrastive learning (Khosla et al.,
    2020, arXiv 2004.11362, equation 2). Views without a positive do not contribute. Views with the same entry of
    ``kinds`` [n] are not negatives of each other. ``others`` [N, d], ``other_labels`` and ``other_kinds`` are the joint
    batch of all processes (``joint``).
    """
    mine = _own_columns(embeddings, others)
    others, other_labels = (embeddings, labels) if others is None or other_labels is None else (others, other_labels)
    logits = (embeddings @ others.T).float() / temperature
    logits = logits.masked_fill(mine, FAR)
    positive = (labels[:, None] == other_labels[None, :]) & ~mine
    against = logits
    if kinds is not None:
        similar = kinds[:, None] == (kinds if other_kinds is None else other_kinds)[None, :]
        against = logits.masked_fill(similar & ~positive, FAR)
    likely = logits - against.logsumexp(1, keepdim=True)
    count = positive.sum(1)
    per_view = -(likely * positive).sum(1) / count.clamp(min=1)
    return per_view.sum() / _over_all((count > 0).sum()).clamp(min=1)


def neighbourhoods(
    embeddings: torch.Tensor,
    features: torch.Tensor,
    temperature: float,
    teacher_temperature: float,
    others: torch.Tensor | None = None,
    other_features: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean divergence of the embeddings' neighbourhoods from the backbone's: KL(teacher || student).

    A view's neighbourhood is the softmax of its cosine similarities to all other views of the joint batch. The teacher
    computes it from raw features [n, f] (SEED, Fang et al., 2021, arXiv 2101.04731, with the batch as its queue).
    """
    mine = _own_columns(embeddings, others)
    others = embeddings if others is None else others
    raw = functional.normalize(features.float(), dim=1)
    other_raw = raw if other_features is None else functional.normalize(other_features.float(), dim=1)
    student = ((embeddings @ others.T).float() / temperature).masked_fill(mine, FAR).log_softmax(1)
    teacher = ((raw @ other_raw.T) / teacher_temperature).masked_fill(mine, FAR).log_softmax(1)
    divergence = (teacher.exp() * (teacher - student)).masked_fill(mine, 0).sum(1)
    return divergence.sum() / _over_all(divergence.new_tensor(len(divergence)))


def joint(rows: torch.Tensor) -> torch.Tensor:
    """Gather the rows [n, ...] of all processes in rank order: [N, ...]. Gradients flow back to each process."""
    if not _several():
        return rows
    if rows.requires_grad:
        gathered: torch.Tensor = _Gather.apply(rows)
        return gathered
    return torch.cat(_gathered(rows))


class _Gather(torch.autograd.Function):  # type: ignore[misc]
    """All-gather whose backward pass sums the gradients of all processes for this process's rows."""

    @staticmethod
    def forward(_: object, rows: torch.Tensor) -> torch.Tensor:
        return torch.cat(_gathered(rows))

    @staticmethod
    def backward(_: object, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def _gathered(rows: torch.Tensor) -> list[torch.Tensor]:
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return parts


def _own_columns(rows: torch.Tensor, others: torch.Tensor | None) -> torch.Tensor:
    """Return a mask of each row's own column in the joint batch: bool [n, N]."""
    count = len(rows)
    total = count if others is None else len(others)
    offset = dist.get_rank() * count if total != count else 0
    columns = torch.arange(total, device=rows.device)
    return columns[None, :] == (torch.arange(count, device=rows.device) + offset)[:, None]


def _over_all(count: torch.Tensor) -> torch.Tensor:
    """Average a count over the processes, so that the mean of their losses equals the loss of the joint batch."""
    if _several():
        count = count.clone().float()
        dist.all_reduce(count)
        return count / dist.get_world_size()
    return count


def _several() -> bool:
    return bool(dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)
