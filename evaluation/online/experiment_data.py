"""Read from Postgres what the users of an experiment were shown and clicked."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from psycopg.rows import dict_row

from visualsearch.domain.errors import InvalidInput, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from visualsearch.settings import Settings

    Array = NDArray[np.float64]

# A search without a user is its own unit. Pseudonyms are never negative, so the two cannot collide.
SHOWN = """
SELECT {group} AS variant, COALESCE(shown.user_id, -shown.query_image_id) AS unit,
  (shown.ts AT TIME ZONE 'UTC')::date AS day, count(*) AS shown, count(*) FILTER (WHERE EXISTS (
    SELECT 1 FROM interactions AS click WHERE click.type = 'click' AND click.query_image_id = shown.query_image_id
    AND click.displayed_image_id = shown.displayed_image_id AND click.ts >= %(begin)s
    AND click.ts BETWEEN shown.ts AND shown.ts + interval '1 day'
    AND (click.user_id IS NOT DISTINCT FROM shown.user_id OR shown.user_id IS NULL))) AS clicks
FROM interactions AS shown
WHERE shown.type = 'impression' AND shown.ts >= %(begin)s AND shown.ts < %(end)s AND {which}
GROUP BY 1, 2, 3 ORDER BY 3, 2
"""
DURING = SHOWN.format(group="shown.variants ->> %(name)s", which="shown.variants ->> %(name)s IS NOT NULL")
BEFORE = SHOWN.format(group="''", which="shown.user_id = ANY(%(users)s)")


@dataclass(frozen=True, slots=True)
class Data:
    """The users of an experiment. The first variant is the control. Units are users, or searches without a user.

    ``variant`` int64 [n] is the variant of each unit. ``clicks`` and ``shown`` float64 [d, n] are counts up to the end
    of each of ``days``; ``clicks_before`` and ``shown_before`` float64 [n] are the counts before the start.
    """

    name: str
    variants: tuple[str, ...]
    weights: tuple[float, ...]
    expected_lift: float
    state: str
    days: list[date]
    variant: NDArray[np.int64]
    clicks: Array
    shown: Array
    clicks_before: Array
    shown_before: Array


def load(settings: Settings, name: str, pre_days: int) -> Data:
    """Read an experiment from its start to its end, or to now if it still runs.

    Raises ``NotFound``, ``InvalidInput`` if it was never started, and ``Unavailable``.
    """
    with _connection(settings) as connection:
        row = connection.execute("SELECT * FROM experiments WHERE name = %s", [name]).fetchone()
        if row is None:
            raise NotFound(f"There is no experiment {name}: `visualsearch experiment list` shows them.")
        if row["started_at"] is None:
            raise InvalidInput(f"Experiment {name} was never started: `visualsearch experiment start {name}`.")
        begin, end = row["started_at"], row["stopped_at"] or datetime.now(UTC)
        during = connection.execute(DURING, {"name": name, "begin": begin, "end": end}).fetchall()
        users = sorted({one["unit"] for one in during if one["unit"] >= 0})
        window = {"users": users, "begin": begin - timedelta(days=pre_days), "end": begin}
        before = connection.execute(BEFORE, window).fetchall() if users and pre_days else []
    variants = tuple(one["name"] for one in row["variants"])
    weights = tuple(float(one["weight"]) for one in row["variants"])
    return _arrange(name, variants, weights, row["expected_lift"], row["state"], during, before)


def _arrange(
    name: str,
    variants: tuple[str, ...],
    weights: tuple[float, ...],
    expected_lift: float,
    state: str,
    during: Sequence[dict[str, Any]],
    before: Sequence[dict[str, Any]],
) -> Data:
    """Convert rows to arrays. A unit is a pair of user and variant."""
    rows = [one for one in during if one["variant"] in variants]
    days = sorted({one["day"] for one in rows})
    units = {key: place for place, key in enumerate(dict.fromkeys((one["variant"], one["unit"]) for one in rows))}
    clicks, shown = np.zeros((2, len(days), len(units)))
    for one in rows:
        where = days.index(one["day"]), units[one["variant"], one["unit"]]
        clicks[where], shown[where] = one["clicks"], one["shown"]
    past = np.zeros((2, len(units)))
    totals: dict[int, tuple[int, int]] = {}
    for one in before:
        had = totals.get(one["unit"], (0, 0))
        totals[one["unit"]] = had[0] + one["clicks"], had[1] + one["shown"]
    for (_, unit), place in units.items():
        past[:, place] = totals.get(unit, (0, 0))
    place_of = np.array([variants.index(variant) for variant, _ in units], np.int64)
    counts = clicks.cumsum(axis=0), shown.cumsum(axis=0)
    return Data(name, variants, weights, expected_lift, state, days, place_of, *counts, *past)


@contextmanager
def _connection(settings: Settings) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    password = settings.postgres_password.get_secret_value() or None
    try:
        with psycopg.connect(
            settings.postgres_dsn, password=password, connect_timeout=5, row_factory=dict_row
        ) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise Unavailable("Postgres", str(error)[:200]) from None
