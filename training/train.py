"""Train the encoder contrastively: two views of a picture, or two drawings of one thing, must get similar embeddings.

    # a toy run: a few hundred pictures, minutes on two cores
    python training/train.py --data_root ./data/images --epochs 5

    # the shipped encoder: features of a frozen backbone, computed once (docs/training.md)
    python training/train.py --data_root out/corpus --features out/features --backbone efficientnet-lite0-pools \
        --start within --batch 1024

    # eight GPUs, the whole backbone, in mixed precision; negatives come from all GPUs
    torchrun --nproc_per_node 8 training/train.py --data_root pictures --backbone ViT-B-32 --pretrained openai \
        --tune --precision bf16 --batch 4096 --micro_batch 128 --workers 12

    # resume an interrupted run; the result equals that of an uninterrupted one
    python training/train.py --data_root ./data/images --epochs 5 --resume out/training/checkpoint.pt

``python -m export.to_onnx --checkpoint`` reads ``checkpoint.pt`` in ``--out``; ``curves.png`` shows loss and retrieval.
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: sys.path has this folder, but not that of the project
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import torch.distributed as dist
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from encoders import checkpoint
from training import batches, config, initial_projection, loss, picture_collection
from visualsearch.domain.errors import ConfigurationError, VisualSearchError

WATCHED = 500
SKIPPED = "skipped.txt"


class Run:
    """One process of a training run."""

    def __init__(self, given: config.Config, collection: picture_collection.Collection) -> None:
        self.config, self.collection = given, collection
        self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        here = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(here)
        torch.manual_seed(given.seed)
        if given.batch % self.world:
            raise ConfigurationError(f"A batch of {given.batch} cannot be shared evenly by {self.world} processes.")
        self.rows, self.watched_rows = collection.split(given.held_out, WATCHED, given.seed)
        self.source = batches.source(given, collection)
        resumed = checkpoint.load(given.resume, given.backbone, given.dim) if given.resume else None
        self.encoder = initial_projection.encoder(given, self.source, collection, self.rows, resumed).to(self.device)
        self.optimizer = self._optimizer()
        self.steps_an_epoch = len(self._batches(0))
        self.epoch = 0
        if resumed:
            self.epoch = resumed["resume"]["epoch"]
            self.optimizer.load_state_dict(resumed["resume"]["optimizer"])

    def train(self) -> dict[str, Any]:
        """Train to the last epoch; return the checkpoint."""
        from training.curves import Curves

        first = self.epoch * self.steps_an_epoch
        curves = Curves(self.config.out, first) if self.rank == 0 else None
        parts = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        bar = Progress(TextColumn("{task.description}"), *parts, disable=self.rank != 0)
        with bar:
            task = bar.add_task("", total=self.config.epochs * self.steps_an_epoch, completed=first)
            if curves and not first:
                curves.add(0, **self.watch())
            while self.epoch < self.config.epochs:
                mine = [rows[self.rank :: self.world] for rows in self._batches(self.epoch)]
                views = self.source.epoch(mine, self.config.seed, self.epoch)
                for step, (inputs, rows) in enumerate(zip(views, mine, strict=True), self.epoch * self.steps_an_epoch):
                    figures = self.step(inputs, rows, step)
                    bar.update(task, advance=1, description=f"epoch {self.epoch + 1} loss {figures['loss']:.3f}")
                    if curves:
                        curves.add(step + 1, **figures)
                self.epoch += 1
                if curves:
                    curves.add(self.epoch * self.steps_an_epoch, **self.watch())
                    curves.draw()
                    checkpoint.write(self.config.out / "checkpoint.pt", self.checkpoint())
        if curves:
            curves.close()
        return self.checkpoint()

    def step(self, inputs: torch.Tensor, rows: batches.Rows, step: int) -> dict[str, float]:
        """Do one training step on this process's share of a batch: views [2n, ...] of rows [n]."""
        rate = self._rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * rate
        self.optimizer.zero_grad()
        figures = self.backward(inputs, rows)
        self.optimizer.step()
        return {**figures, "lr": self.config.lr * rate}

    def backward(self, inputs: torch.Tensor, rows: batches.Rows) -> dict[str, float]:
        """Set the gradients of the joint batch's loss.

        Gradient caching (Gao et al., 2021, arXiv 2101.06983): embed the views in micro-batches without gradients,
        compute the gradient of the joint loss for each embedding, then embed each micro-batch again and backpropagate
        it. The number of negatives is that of the whole batch, but the memory is that of a micro-batch.
        """
        self.encoder.train()
        parts = inputs.split(2 * self.config.micro_batch) if not inputs.is_floating_point() else (inputs,)
        with torch.set_grad_enabled(len(parts) == 1):
            done = [self._forward(part) for part in parts]
        whole, raw = torch.cat([one for one, _ in done]), torch.cat([one for _, one in done])
        embeddings = whole if len(parts) == 1 else whole.detach().requires_grad_()
        total, figures = self._objective(embeddings, raw, rows)
        total.backward()
        if len(parts) > 1:
            for part, gradient in zip(parts, embeddings.grad.split(2 * self.config.micro_batch), strict=True):
                torch.autograd.backward(self._forward(part)[0], gradient)
        self._share_gradients()
        return figures

    def _objective(
        self, embeddings: torch.Tensor, raw: torch.Tensor, rows: batches.Rows
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Sum the losses of this process's views against the joint batch."""
        given, others = self.config, loss.joint(embeddings)
        labels, kinds = (
            torch.from_numpy(numbers[rows]).repeat(2).to(self.device)
            for numbers in (self.collection.labels, self.collection.kinds)
        )
        all_labels, all_kinds = loss.joint(labels), loss.joint(kinds)
        total = loss.contrastive(embeddings, labels, given.temperature, others, all_labels, kinds, all_kinds)
        terms = {"contrast": total}
        if given.kinds:
            terms["kinds"] = loss.contrastive(embeddings, kinds, given.kinds_temperature, others, all_kinds)
            total = total + given.kinds * terms["kinds"]
        if given.neighbours:
            terms["neighbourhoods"] = loss.neighbourhoods(
                embeddings, raw, given.temperature, given.teacher_temperature, others, loss.joint(raw)
            )
            total = total + given.neighbours * terms["neighbourhoods"]
        return total, {"loss": total.item(), **{name: term.item() for name, term in terms.items()}}

    def _forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            found: tuple[torch.Tensor, torch.Tensor] = self.encoder(inputs.to(self.device))
        return found

    def watch(self) -> dict[str, float]:
        """Return how often an augmented view finds its picture first among validation pictures, embedded and raw."""
        if len(self.watched_rows) < 2:  # too few for a ranking
            return {}
        found = {}
        with torch.no_grad():
            inputs = self.source.viewed(self.watched_rows), self.source.served(self.watched_rows)
            sides = [[self._forward(part) for part in side.split(self.config.micro_batch)] for side in inputs]
        for name, which in (("recall@1", 0), ("recall@1 raw", 1)):
            views, served = (torch.cat([part[which] for part in side]).float() for side in sides)
            likeness = torch.nn.functional.normalize(views) @ torch.nn.functional.normalize(served).T
            found[name] = (likeness.argmax(1).cpu() == torch.arange(len(views))).float().mean().item()
        return found

    def checkpoint(self) -> dict[str, Any]:
        """Return the checkpoint of the run."""
        given = asdict(self.config).items()
        arguments = {name: str(value) if isinstance(value, Path) else value for name, value in given}
        about = picture_collection.described(self.collection, self.config.data_root) | {"trained_on": len(self.rows)}
        resume = {"epoch": self.epoch, "optimizer": self.optimizer.state_dict()}
        return checkpoint.saved(self.encoder, arguments, about, resume)

    def _optimizer(self) -> torch.optim.Optimizer:
        given = self.config
        groups = [{"params": list(self.encoder.projection.parameters()), "highest": given.lr}]
        if given.tune:
            groups.append({"params": list(self.encoder.backbone.parameters()), "highest": given.backbone_lr})
        return torch.optim.AdamW(groups, lr=given.lr, weight_decay=given.weight_decay)

    def _rate(self, step: int) -> float:
        """Warm up linearly, then decay to zero along half a cosine (Loshchilov and Hutter, 2017, arXiv 1608.03983)."""
        total = self.config.epochs * self.steps_an_epoch
        rising = max(1, round(self.config.warmup * total))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))

    def _batches(self, epoch: int) -> list[batches.Rows]:
        given = self.config
        return self.collection.batches(self.rows, given.seed, epoch, given.batch, given.click_ratio)

    def _share_gradients(self) -> None:
        if self.world > 1:
            for parameter in self.encoder.parameters():
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= self.world


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = config.parse(words, (__doc__ or "").partition("\n")[0])
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        collection, skipped = picture_collection.read(given.data_root, given.clicks)
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / SKIPPED).write_text("".join(f"{file}\t{reason}\n" for file, reason in skipped.items()))
        if skipped:
            tried, listed = len(skipped) + len(collection), given.out / SKIPPED
            print(f"Skipped {len(skipped)} unreadable of {tried} files; {listed} lists them.")  # noqa: T201
        Run(given, collection).train()
    except VisualSearchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    finally:
        if several:
            dist.destroy_process_group()
    print(f"{given.out / 'checkpoint.pt'}")  # noqa: T201
    return 0


if __name__ == "__main__":
    status = main()
    if "WORLD_SIZE" in os.environ:
        # Exit without finalizing the interpreter. Otherwise a thread of the process group that frees a tensor meanwhile
        # aborts the finished process (pytorch/pytorch#179291).
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
