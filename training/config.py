"""The options of a training run with their defaults. Each is a command-line argument of the same name."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from encoders import backbones
from visualsearch.domain.images import EMBEDDING_DIM


def _about(default: Any, text: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Config:
    """The options of one training run."""

    data_root: Path = field(metadata={"help": "a folder of pictures; pictures.csv in it may say which show the same"})
    out: Path = _about(Path("out/training"), "where checkpoint, curves and the list of skipped files go")
    backbone: str = _about(backbones.LITE0, "as encoders.backbones names it, such as ViT-B-32 (OpenCLIP) or resnet50")
    pretrained: str = _about("", "OpenCLIP: a tag, or a file of weights")
    dim: int = _about(EMBEDDING_DIM, "numbers of an embedding")
    tune: bool = _about(False, "train the backbone too, instead of the projection alone")
    features: Path | None = _about(None, "a folder that training.features filled: train on it, without any picture")
    clicks: Path | None = _about(None, "a folder of pairs that training.click_pairs wrote")
    click_ratio: float = _about(0.25, "share of each batch that is drawn from clicks, where there are any")
    epochs: int = _about(20, "times that every picture is seen")
    batch: int = _about(256, "pictures in a batch, two views each, of all processes together")
    micro_batch: int = _about(64, "pictures that go through the backbone at once; does not change the result")
    temperature: float = _about(0.07, "of the contrastive loss")
    kinds: float = _about(0.0, "weight of a second contrast, by category instead of by picture")
    kinds_temperature: float = _about(0.1, "of that contrast")
    neighbours: float = _about(1.0, "weight of keeping the backbone's neighbourhoods; 0 leaves it out")
    teacher_temperature: float = _about(0.07, "of the neighbourhoods that are kept")
    lr: float = _about(5e-4, "highest learning rate, of the projection")
    backbone_lr: float = _about(2e-5, "highest learning rate, of the backbone")
    weight_decay: float = _about(1e-4, "as in AdamW")
    warmup: float = _about(0.1, "share of all steps in which the learning rate rises; a cosine follows")
    start: str = _about("principal", "first projection: principal (PCA) or within (within-class whitening)")
    whiten: float = _about(0.5, "principal: power of the standard deviations that are divided by")
    ridge: float = _about(0.3, "within: share of an even spread that is added to the scatter within classes")
    precision: str = _about("fp32", "of the backbone: fp32, or bf16 for mixed precision")
    seed: int = _about(0, "of everything that is drawn by chance")
    workers: int = _about(0, "processes that make views; 0 makes them in this one")
    held_out: float = _about(0.1, "share of the pictures, 500 at most, that retrieval is watched on")
    resume: Path | None = _about(None, "a checkpoint to go on from")


def parse(words: list[str] | None, about: str) -> Config:
    """Parse the command-line arguments of a run."""
    parser = argparse.ArgumentParser(prog="training/train.py", description=about)
    kinds = get_type_hints(Config)
    for one in fields(Config):
        text = one.metadata["help"] + ("" if one.default is MISSING else f" ({one.default})")
        if kinds[one.name] is bool:
            parser.add_argument(f"--{one.name}", action="store_true", help=text)
            continue
        kind = Path if "Path" in str(kinds[one.name]) else kinds[one.name]
        parser.add_argument(
            f"--{one.name}",
            type=kind,
            required=one.default is MISSING,
            default=None if one.default is MISSING else one.default,
            help=text,
        )
    return Config(**vars(parser.parse_args(words)))
