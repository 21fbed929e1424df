"""Model cards: ``card.json`` beside each version's graph in the model repository, which no server serves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What serving needs of a card. ``export.publish`` writes cards."""

    fingerprint: str = ""
    duplicate_cosine: float | None = None
    """Lowest cosine of near-duplicates; None if it was not calibrated."""


def read_card(model: Path | None, version: int) -> ModelCard:
    """Return the card of a version under a model's folder; an empty one if there is none."""
    file = model / str(version) / "card.json" if model else None
    if file is None or not file.exists():
        return ModelCard()
    card = json.loads(file.read_text())
    return ModelCard(str(card["fingerprint"]), card.get("near_duplicates", {}).get("cosine"))
