"""Schemas of a release and of its suggested lowest score."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class ScoreCalibration(BaseModel):
    """The suggested lowest score of results: a share of ``rate`` of unrelated pictures reaches ``min_score``.

    ``error`` is the standard error of ``min_score``. ``pairs`` of ``images`` were compared, when the release held
    ``corpus``.
    """

    model_config = ConfigDict(from_attributes=True)

    min_score: float
    error: float
    rate: float
    pairs: int
    images: int
    corpus: int
    at: datetime


class Release(BaseModel):
    """A release: the model and the collection that answer searches."""

    name: str
    model_version: int
    fingerprint: str
    collection: str
    profile: str
    search_params: dict[str, int]
    calibration: ScoreCalibration | None = None
