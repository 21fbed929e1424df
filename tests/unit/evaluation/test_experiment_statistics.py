"""The statistics, compared with theory and simulations."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cli import experiment_report
from evaluation.online import plot
from evaluation.online.cuped import adjust, covariates
from evaluation.online.experiment_analysis import judge
from evaluation.online.ratio import ratio
from evaluation.online.sample_ratio import ALARM, mismatch
from evaluation.online.sequential import log_likelihood_ratio, p_value, radius
from evaluation.online.simulate import World, experiment

WORLD = World(users=600, days=14, visits=0.6)


def experiments(world, lift, count, seed=1):
    rng = np.random.default_rng(seed)
    return [experiment(world, lift, rng) for _ in range(count)]


@pytest.fixture(scope="module")
def without_effect():
    return [(data, judge(data, 0.05)) for data in experiments(WORLD, 0.0, 200)]


@pytest.fixture(scope="module")
def with_effect():
    return [judge(data, 0.05) for data in experiments(WORLD, 0.3, 40)]


def test_the_ratios_variance_is_that_of_repeated_experiments():
    found = [ratio(data.clicks[-1], data.shown[-1]) for data in experiments(WORLD, 0.0, 300)]
    seen = np.var([one.value for one in found], ddof=1)
    assert np.mean([one.variance for one in found]) == pytest.approx(seen, rel=0.25)


def test_taking_impressions_for_independent_sees_far_too_little_variance():
    data = experiments(WORLD, 0.0, 1)[0]
    one = ratio(data.clicks[-1], data.shown[-1])
    assert one.variance > 2 * one.value * (1 - one.value) / data.shown[-1].sum()


def test_without_an_effect_looking_every_day_finds_one_in_at_most_5_of_100(without_effect):
    for which in ("contrasts", "adjusted"):
        alarms = sum(getattr(judged.looks[-1], which)[0].p < 0.05 for _, judged in without_effect)
        assert alarms / len(without_effect) <= 0.05


def test_a_t_test_looked_at_every_day_finds_far_more(without_effect):
    def ever(data):
        for clicks, shown in zip(data.clicks[3:], data.shown[3:], strict=True):
            seen = shown > 0
            rates, place = clicks[seen] / shown[seen], data.variant[seen]
            if stats.ttest_ind(rates[place == 0], rates[place == 1], equal_var=False).pvalue < 0.05:
                return True
        return False

    assert sum(ever(data) for data, _ in without_effect) / len(without_effect) > 0.15


def test_the_truth_is_within_the_confidence_sequence_at_every_look(without_effect):
    missed = sum(
        any(not look.adjusted[0].low <= 0 <= look.adjusted[0].high for look in judged.looks)
        for _, judged in without_effect
    )
    assert missed / len(without_effect) <= 0.05


def test_an_effect_is_found_and_more_often_with_cuped(with_effect):
    plain = sum(judged.looks[-1].contrasts[0].p < 0.05 for judged in with_effect)
    better = sum(judged.looks[-1].adjusted[0].p < 0.05 for judged in with_effect)
    assert better >= plain
    assert better / len(with_effect) > 0.8
    assert np.mean([judged.looks[-1].adjusted[0].difference for judged in with_effect]) == pytest.approx(
        0.03, abs=0.006
    )


def test_the_p_value_never_rises_and_agrees_with_the_interval(with_effect):
    for judged in with_effect[:10]:
        values = [look.contrasts[0].p for look in judged.looks]
        assert values == sorted(values, reverse=True)
        for before, look in zip([1.0, *values], judged.looks, strict=False):
            one = look.contrasts[0]
            excluded = one.low > 0 or one.high < 0
            assert (one.p < 0.05) == (excluded or before < 0.05)


@pytest.mark.parametrize(("effect", "variance", "scale"), [(0.01, 1e-5, 0.01), (0.002, 1e-6, 0.005), (-0.5, 0.1, 1.0)])
def test_the_mixture_is_the_integral_of_its_definition(effect, variance, scale):
    grid = np.linspace(-8, 8, 20_001) * scale
    likelihood = stats.norm.pdf(effect, grid, variance**0.5) * stats.norm.pdf(grid, 0, scale)
    ratio_there = np.trapezoid(likelihood, grid) / stats.norm.pdf(effect, 0, variance**0.5)
    assert log_likelihood_ratio(effect, variance, scale) == pytest.approx(np.log(ratio_there), rel=1e-6)


def test_the_radius_is_where_the_test_reaches_alpha():
    wide = radius(1e-5, 0.01, 0.05)
    assert p_value(log_likelihood_ratio(wide, 1e-5, 0.01)) == pytest.approx(0.05)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_cuped_takes_out_the_part_of_the_variance_that_theory_says(rho):
    rng = np.random.default_rng(3)
    past = rng.normal(size=(2, 20_000))
    now = rho * past + (1 - rho**2) ** 0.5 * rng.normal(size=past.shape)
    ratios = [ratio(now[place] + 5, np.ones(20_000)) for place in range(2)]
    adjusted = adjust(ratios, [past[place][:, None] for place in range(2)])
    for plain, variance in zip(ratios, adjusted.variances, strict=True):
        assert variance / plain.variance == pytest.approx(1 - rho**2, abs=0.03)
    assert adjusted.explained == pytest.approx(rho**2, abs=0.03)


def test_cuped_takes_out_an_imbalance_that_was_there_before():
    past = np.concatenate([np.zeros(500), np.ones(500)])
    ratios = [ratio(past + 1, np.ones(1000)), ratio(past[250:] + 1, np.ones(750))]
    adjusted = adjust(ratios, [past[:, None], past[250:, None]])
    assert ratios[1].value > ratios[0].value + 0.1
    assert adjusted.values[1] == pytest.approx(adjusted.values[0])


def test_users_without_earlier_data_are_marked_in_the_covariates():
    found = covariates(np.array([1.0, 0.0, 0.0]), np.array([10.0, 10.0, 0.0]))
    assert found[:, 1].tolist() == [1, 1, 0]
    assert found[2, 0] == 0
    assert (covariates(np.zeros(3), np.zeros(3)) == 0).all()


def test_a_mismatch_of_users_is_found_and_chance_is_not():
    rng = np.random.default_rng(4)
    fair = [mismatch(rng.multinomial(10_000, [0.5, 0.5]), [1, 1]) for _ in range(500)]
    lossy = [mismatch(rng.multinomial(10_000, [0.53, 0.47]), [1, 1]) for _ in range(100)]
    assert sum(p < ALARM for p in fair) <= 3
    assert sum(p < ALARM for p in lossy) > 95
    assert mismatch([0, 0], [1, 1]) == 1
    assert mismatch([300, 100], [3, 1]) == 1


def test_of_more_variants_each_is_compared_with_the_control_more_strictly():
    data = experiments(WORLD, 0.3, 1)[0]
    three = replace(data, variants=("a", "b", "c"), weights=(1, 1, 1), variant=np.arange(len(data.variant)) % 3)
    (one, other), (single,) = judge(three, 0.05).looks[-1].contrasts, judge(data, 0.05).looks[-1].contrasts
    assert one.high - one.low > single.high - single.low
    assert other.p >= 0


def test_few_users_give_no_result_and_none_give_no_error(tmp_path):
    data = experiments(replace(WORLD, users=40), 2.0, 1)[0]
    judged = judge(data, 0.05)
    assert judged.looks[-1].contrasts[0].p == 1
    assert experiment_report.as_json(judged)["looks"][-1]["contrasts"][0]["low"] is None
    assert "no difference" in " ".join(experiment_report.verdict(judged))
    nothing = judge(
        replace(
            data,
            days=[],
            variant=data.variant[:0],
            clicks=data.clicks[:0, :0],
            shown=data.shown[:0, :0],
            clicks_before=data.clicks_before[:0],
            shown_before=data.shown_before[:0],
        ),
        0.05,
    )
    assert experiment_report.verdict(nothing) == ["Nobody has searched in this experiment yet."]
    with pytest.raises(Exception, match="nothing to draw"):
        plot.draw(nothing, tmp_path / "x.png")


def test_the_report_says_which_is_better_and_draws_it(with_effect, tmp_path):
    judged = next(one for one in with_effect if one.looks[-1].adjusted[0].p < 0.05)
    assert "b is better than a" in experiment_report.verdict(judged)[0]
    plot.draw(judged, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    assert "not the users" in experiment_report.verdict(replace(judged, srm_p=1e-9))[0]
