"""Train the encoder by contrast: two views of a picture, or two drawings of one thing, must come out alike.

    # a toy run: a few hundred pictures, minutes on two cores
    python training/train.py --data_root ./data/images --epochs 5

    # the shipped encoder: features of a frozen backbone, computed once (docs/training.md)
    python training/train.py --data_root out/corpus --features out/features --backbone efficientnet-lite0-pools --batch 2048

    # eight GPUs, the whole backbone, in mixed precision; negatives come from all GPUs
    torchrun --nproc_per_node 8 training/train.py --data_root pictures --backbone ViT-B-32 --pretrained openai \
        --tune --precision bf16 --batch 4096 --micro_batch 128 --workers 12

    # go on where a run was stopped; the result is that of a run that was not
    python training/train.py --data_root ./data/images --epochs 5 --resume out/training/checkpoint.pt

``checkpoint.pt`` in ``--out`` is what ``python -m export.to_onnx --checkpoint`` reads; ``curves.png`` shows loss and retrieval.
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):  # run as a file: its own folder is on the path, the project's is not
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import torch.distributed as dist
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from export import backbones
from training import batches, config, data, loss, model
from visualsearch.errors import ConfigurationError, VisualSearchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WATCHED = 500
SKIPPED = "skipped.txt"
FITTED_ON = 4000
"""Pictures whose features the first projection is fitted to, at most."""


class Run:
    """One process of a training run."""

    def __init__(self, given: config.Config, collection: data.Collection, source: batches.Source | None = None) -> None:
        self.config, self.collection = given, collection
        self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else torch.device("cpu")
        torch.manual_seed(given.seed)
        if given.batch % self.world:
            raise ConfigurationError(f"A batch of {given.batch} can not be shared evenly by {self.world} processes.")
        self.rows, self.watched_rows = collection.split(given.held_out, WATCHED, given.seed)
        if given.tune and given.features:
            raise ConfigurationError("Features come of a frozen backbone: leave out --tune or --features.")
        self.source = source or self._source()
        self.resumed = model.load(given.resume, given.backbone, given.dim) if given.resume else None
        self.encoder = self._encoder().to(self.device)
        self.optimizer = self._optimizer()
        self.steps_an_epoch = len(self._batches(0))
        self.epoch = 0
        if self.resumed:
            self.epoch = self.resumed["resume"]["epoch"]
            self.optimizer.load_state_dict(self.resumed["resume"]["optimizer"])

    def train(self) -> dict[str, Any]:
        """Train to the last epoch; return the checkpoint."""
        from training.curves import Curves

        first = self.epoch * self.steps_an_epoch
        curves = Curves(self.config.out, first) if self.rank == 0 else None
        bar = Progress(
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()),
            disable=self.rank != 0,
        )
        with bar:
            task = bar.add_task("", total=self.config.epochs * self.steps_an_epoch, completed=first)
            if curves and not first:
                curves.add(0, **self.watch())
            while self.epoch < self.config.epochs:
                figures: dict[str, float] = {}
                for number, inputs in enumerate(self.source.epoch(self._mine(), self.config.seed, self.epoch)):
                    step = self.epoch * self.steps_an_epoch + number
                    figures = self.step(inputs, self._labels(number), step)
                    bar.update(task, advance=1, description=f"epoch {self.epoch + 1} loss {figures['loss']:.3f}")
                    if curves:
                        curves.add(step + 1, **figures)
                self.epoch += 1
                if curves:
                    curves.add(self.epoch * self.steps_an_epoch, **self.watch())
                    curves.draw()
                    model.write(self.config.out / "checkpoint.pt", self.checkpoint())
        if curves:
            curves.close()
        return self.checkpoint()

    def step(self, inputs: torch.Tensor, labels: torch.Tensor, step: int) -> dict[str, float]:
        """Learn from this process' share of a batch: views [2n, ...] and their labels [2n]."""
        rate = self._rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * rate
        self.optimizer.zero_grad()
        figures = self.backward(inputs, labels)
        self.optimizer.step()
        return {**figures, "lr": self.config.lr * rate}

    def backward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        """Set the gradients of the joint batch's loss.

        The views first go through the encoder in small parts without gradients; the loss of all of them says what each
        embedding should change, and each part goes through again to pass that on (Gao et al., 2021, arXiv 2101.06983).
        So the negatives are as many as the batch, the memory that of a part.
        """
        self.encoder.train()
        parts = inputs.split(2 * self.config.micro_batch) if not inputs.is_floating_point() else (inputs,)
        with torch.set_grad_enabled(len(parts) == 1):
            done = [self._forward(part) for part in parts]
        whole, raw = torch.cat([one for one, _ in done]), torch.cat([one for _, one in done])
        embeddings = whole if len(parts) == 1 else whole.detach().requires_grad_()
        total, figures = self._objective(embeddings, raw, labels.to(self.device))
        total.backward()
        if len(parts) > 1:
            for part, gradient in zip(parts, embeddings.grad.split(2 * self.config.micro_batch), strict=True):
                torch.autograd.backward(self._forward(part)[0], gradient)
        self._share_gradients()
        return figures

    def _objective(
        self, embeddings: torch.Tensor, raw: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        given = self.config
        others = loss.joint(embeddings)
        contrast = loss.contrastive(embeddings, labels, given.temperature, others, loss.joint(labels))
        if not given.neighbours:
            return contrast, {"loss": contrast.item()}
        kept = loss.neighbourhoods(embeddings, raw, given.temperature, given.teacher_temperature, others, loss.joint(raw))
        total = contrast + given.neighbours * kept
        return total, {"loss": total.item(), "contrast": contrast.item(), "neighbourhoods": kept.item()}

    def _forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            found: tuple[torch.Tensor, torch.Tensor] = self.encoder(inputs.to(self.device))
        return found

    @torch.no_grad()
    def watch(self) -> dict[str, float]:
        """Say how often an augmented view finds its picture first among those not trained on, embedded and raw."""
        if len(self.watched_rows) < 2:  # noqa: PLR2004 - nothing to find it among
            return {}
        self.encoder.eval()
        sides = [[self._forward(part) for part in one.split(self.config.micro_batch)] for one in self.source.watched(self.watched_rows)]
        found = {}
        for name, which in (("recall@1", 0), ("recall@1 raw", 1)):
            views, served = (torch.nn.functional.normalize(torch.cat([part[which] for part in side]).float(), dim=1) for side in sides)
            hits = (views @ served.T).argmax(1).cpu() == torch.arange(len(views))
            found[name] = hits.float().mean().item()
        return found

    def checkpoint(self) -> dict[str, Any]:
        """Return what is kept."""
        arguments = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self.config).items()}
        about = {"pictures": len(self.collection), "trained_on": len(self.rows), "labels": len(self.collection.alike)}
        return model.saved(self.encoder, arguments, about, {"epoch": self.epoch, "optimizer": self.optimizer.state_dict()})

    def _source(self) -> batches.Source:
        given = self.config
        if given.features:
            return batches.Cached(self.collection, given.features, given.backbone)
        return batches.Pictures(self.collection, given.workers)

    def _encoder(self) -> model.Encoder:
        given = self.config
        backbone = backbones.load(given.backbone, given.pretrained)
        if self.resumed:
            kept = self.resumed["projection"]
            encoder = model.Encoder(backbone, model.Projection(kept["matrix"], kept["mean"]), given.tune)
            if given.tune and self.resumed["backbone_state"]:
                encoder.backbone.load_state_dict(self.resumed["backbone_state"])
            return encoder
        encoder = model.Encoder(backbone, model.principal(self._first_features(backbone), given.dim, given.whiten, given.seed), given.tune)
        return encoder

    def _first_features(self, backbone: backbones.Backbone) -> NDArray[Any]:
        """Features of some pictures as they are served, for the projection to start from."""
        rows = self.rows[:: max(1, len(self.rows) // FITTED_ON)][:FITTED_ON]
        served = self.source.served(rows)
        if served.is_floating_point():
            return served.numpy()
        with torch.inference_mode():
            network = backbone.network.to(self.device)
            return torch.cat([network(part.to(self.device)).cpu() for part in served.split(self.config.micro_batch)]).numpy()

    def _optimizer(self) -> torch.optim.Optimizer:
        given = self.config
        groups = [{"params": list(self.encoder.projection.parameters()), "highest": given.lr}]
        if given.tune:
            groups.append({"params": list(self.encoder.backbone.parameters()), "highest": given.backbone_lr})
        return torch.optim.AdamW(groups, lr=given.lr, weight_decay=given.weight_decay)

    def _rate(self, step: int) -> float:
        """Rise linearly, then fall as half a cosine wave to nothing (Loshchilov and Hutter, 2017, arXiv 1608.03983)."""
        total = self.config.epochs * self.steps_an_epoch
        rising = max(1, round(self.config.warmup * total))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))

    def _batches(self, epoch: int) -> list[batches.Rows]:
        given = self.config
        return self.collection.batches(self.rows, given.seed, epoch, given.batch, given.click_ratio)

    def _mine(self) -> list[batches.Rows]:
        """Rows of this epoch's batches that are this process' share."""
        self._shares = [rows[self.rank :: self.world] for rows in self._batches(self.epoch)]
        return self._shares

    def _labels(self, number: int) -> torch.Tensor:
        return torch.from_numpy(self.collection.labels[self._shares[number]]).repeat(2)

    def _share_gradients(self) -> None:
        if self.world > 1:
            for parameter in self.encoder.parameters():
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= self.world


def main(words: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    given = config.parse(words, (__doc__ or "").partition("\n")[0])
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        collection, skipped = data.read(given.data_root, given.clicks)
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / SKIPPED).write_text("".join(f"{file}\t{reason}\n" for file, reason in skipped.items()))
        if skipped:
            print(f"{len(skipped)} files cannot be read and are skipped; {given.out / SKIPPED} lists them.")  # noqa: T201
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
    sys.exit(main())
