"""Error rates of the experiment tests on simulated experiments: `python -m benchmarks.experiments`.

Simulated users differ in click rate and return over 28 days. Every method is applied at the end of every day. Takes
about three minutes; `--runs 1000` makes the figures more precise.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import track
from scipy import stats

from benchmarks.table import RESULTS, grid, write
from evaluation.online import plot
from evaluation.online.cuped import adjust
from evaluation.online.experiment_analysis import Judged, judge
from evaluation.online.experiment_data import Data
from evaluation.online.ratio import ratio
from evaluation.online.sample_ratio import ALARM, mismatch
from evaluation.online.simulate import World, experiment

ALPHA = 0.05
WORLD = World(users=3000)
LIFTS = (0.0, 0.1, 0.2)
METHODS = (
    "always valid, CUPED",
    "always valid",
    "t-test of users, looked at daily",
    "z-test of impressions, looked at daily",
    "t-test of users, day 28 alone",
    "z-test of impressions, day 28 alone",
)


def t_test(data: Data, day: int) -> float:
    """Return the p-value of Welch's test on the users' own CTRs, as if this were the only look."""
    seen = data.shown[day] > 0
    rates, place = data.clicks[day][seen] / data.shown[day][seen], data.variant[seen]
    return float(stats.ttest_ind(rates[place == 0], rates[place == 1], equal_var=False).pvalue)


def z_test(data: Data, day: int) -> float:
    """Return the p-value of a test of two proportions, as if impressions were independent and this the only look."""
    clicks, shown = (np.bincount(data.variant, counts[day], 2) for counts in (data.clicks, data.shown))
    whole = clicks.sum() / shown.sum()
    deviation = np.sqrt(whole * (1 - whole) * (1 / shown).sum())
    return float(2 * stats.norm.sf(abs(clicks[1] / shown[1] - clicks[0] / shown[0]) / deviation))


def found(data: Data, judged: Judged) -> tuple[bool, ...]:
    """Return for each method whether it finds a difference between the variants."""
    last, days = judged.looks[-1], range(3, len(data.days))
    return (
        last.adjusted[0].p < ALPHA,
        last.contrasts[0].p < ALPHA,
        any(t_test(data, day) < ALPHA for day in days),
        any(z_test(data, day) < ALPHA for day in days),
        t_test(data, -1) < ALPHA,
        z_test(data, -1) < ALPHA,
    )


def days_needed(judged: Judged) -> float:
    """Return the number of days until the always-valid test with CUPED finds a difference; NaN if it does not."""
    return next((day for day, look in enumerate(judged.looks, 1) if look.adjusted[0].p < ALPHA), float("nan"))


def cuped(rng: np.random.Generator) -> str:
    """Compare the variance after CUPED with 1 - rho^2, by the similarity of behaviour before and during."""
    rows = []
    for rho in (0.3, 0.5, 0.7, 0.9):
        left = []
        for _ in range(50):
            past = rng.normal(size=(2, 2000))
            now = rho * past + np.sqrt(1 - rho**2) * rng.normal(size=past.shape)
            ratios = [ratio(one + 5, np.ones(2000)) for one in now]
            after = adjust(ratios, [one[:, None] for one in past])
            left.append(sum(after.variances) / sum(one.variance for one in ratios))
        rows.append((rho, f"{1 - rho**2:.3f}", f"{np.mean(left):.3f}"))
    return grid(("rho", "1 - rho^2", "variance left"), rows)


def mismatches(rng: np.random.Generator) -> str:
    """Count alarms of the sample ratio check for an intended split of 50:50."""
    rows = []
    for users in (2000, 10_000, 100_000):
        for part in (0.5, 0.49, 0.47):
            alarms = [mismatch(rng.multinomial(users, [part, 1 - part]), [1, 1]) < ALARM for _ in range(2000)]
            rows.append((f"{users:,}", f"{part:.0%}", f"{np.mean(alarms):.4f}"))
    return grid(("users", "really in the control", "alarms"), rows)


def main() -> None:
    """Run the simulations; write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200, help="experiments for each effect")
    runs = parser.parse_args().runs
    rng = np.random.default_rng(2026)
    seen: dict[str, list[str]] = {method: [] for method in METHODS}
    explained, needed = [], []
    for lift in LIFTS:
        hits = []
        for _ in track(range(runs), f"effect {lift:+.0%}"):
            data = experiment(WORLD, lift, rng)
            judged = judge(data, ALPHA)
            hits.append(found(data, judged))
            explained.append(judged.looks[-1].explained)
            needed += [days_needed(judged)] if lift == LIFTS[-1] else []
        for method, rate in zip(METHODS, np.mean(hits, axis=0), strict=True):
            seen[method].append(f"{rate:.3f}")
    example = judge(experiment(WORLD, 0.2, np.random.default_rng(7)), ALPHA)
    plot.draw(replace(example, name="simulated, effect +20%"), RESULTS / "experiments.png")
    note = (
        f"Part of {runs} simulated experiments each, {WORLD.users:,} users and {WORLD.days} days, in which a "
        f"difference was declared at {ALPHA:.0%}. The first column should be at most {ALPHA}, with a standard error of "
        f"{(0.05 * 0.95 / runs) ** 0.5:.3f}; the others are power. With an effect of +20% the always-valid test with "
        f"CUPED needed {np.nanmedian(needed):.0f} days (median of those that found it).\n\n"
        f"CUPED explained {np.mean(explained):.2f} of the variance in these experiments. Against theory, on normal "
        f"values:\n\n{cuped(rng)}\n\nSample ratio mismatch (alarm below p = {ALARM}), 2,000 draws each:\n\n"
        f"{mismatches(rng)}\n\n![CTR and difference with confidence sequences]({Path('experiments.png')})"
    )
    heading = ("method", "no effect: false alarms", *(f"effect {lift:+.0%}: found" for lift in LIFTS[1:]))
    rows = [(method, *rates) for method, rates in seen.items()]
    write("experiments", "Experiments: false alarms and power", "python -m benchmarks.experiments", heading, rows, note)


if __name__ == "__main__":
    main()
