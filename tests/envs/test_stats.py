"""Intervals and curve summaries against known values and their properties."""

import math
from random import Random
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SKILLS, problem
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.stats import (
    curve_area,
    diversity,
    effect_size,
    holm,
    mcnemar,
    paired_gain,
    rows_to_target,
    t_test,
    wilson,
)


def test_wilson_known_values() -> None:
    # 8 of 10: centre (8 + z^2/2)/(10 + z^2), as in R's prop.test(8, 10, correct = FALSE).
    assert wilson(8, 10) == pytest.approx((0.8, 0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 10) == pytest.approx((0.0, 0.0, 0.2775328), abs=1e-6)
    assert wilson(0, 0) == (0.0, 0.0, 1.0)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_value_and_mirrors(pair: tuple[int, int]) -> None:
    k, n = pair
    interval, mirrored = wilson(k, n), wilson(n - k, n)
    assert 0 <= interval.low <= interval.value + 1e-12
    assert interval.value - 1e-12 <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirrored.high, abs=1e-9)
    if k < n:
        assert wilson(k + 1, n).low > interval.low


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(pair: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    theirs = binomtest(*pair).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(*pair)[1:] == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_narrows_with_n() -> None:
    widths = [w.high - w.low for w in (wilson(n // 2, n) for n in (10, 100, 1000))]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_wilson_refuses_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(DataError):
        wilson(k, n)


def test_paired_gain_known_values() -> None:
    # 20 right only after, 5 only before, 50 both, 25 neither: p = 21/102, q = 6/102.
    base = [False] * 20 + [True] * 5 + [True] * 50 + [False] * 25
    best = [True] * 20 + [False] * 5 + [True] * 50 + [False] * 25
    gain = paired_gain(base, best)
    assert gain.value == pytest.approx(0.15)
    assert (gain.low, gain.high) == pytest.approx((0.0514, 0.2427), abs=5e-4)
    assert paired_gain([], []) == (0.0, -1.0, 1.0)


SCORE = st.booleans() | st.floats(0, 1)


@given(st.lists(st.tuples(SCORE, SCORE), min_size=1, max_size=200))
def test_paired_gain_is_antisymmetric_and_bounded(pairs: list[tuple[float, float]]) -> None:
    base, best = [b for b, _ in pairs], [a for _, a in pairs]
    gain, loss = paired_gain(base, best), paired_gain(best, base)
    assert -1 <= gain.low < gain.high <= 1
    assert (gain.value, gain.low, gain.high) == pytest.approx((-loss.value, -loss.high, -loss.low))
    same = paired_gain(base, base)
    assert same.low < 0 == same.value < same.high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_the_interval_of_a_mean_score_holds_it(scores: list[float]) -> None:
    found = wilson(math.fsum(scores), len(scores))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_half_a_score_gained_everywhere() -> None:
    gain = paired_gain([0.25] * 98, [0.75] * 98)
    middle, square = 49 / 100, (98 / 4 + 2) / 100  # of the differences, and of 1 and -1 with them
    half = 1.96 * math.sqrt((square - middle**2) / 100)
    assert gain == pytest.approx((0.5, middle - half, middle + half), abs=1e-4)


def test_paired_gain_needs_pairs() -> None:
    with pytest.raises(DataError, match="same length"):
        paired_gain([True], [True, False])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_the_interval_of_a_paired_gain_is_statsmodels_normal_interval_with_two_more_pairs(
    pairs: list[tuple[bool, bool]],
) -> None:
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    differences = [float(b) - float(a) for a, b in pairs]
    low, high = weightstats.zconfint([*differences, 1.0, -1.0], ddof=0)
    found = paired_gain([a for a, _ in pairs], [b for _, b in pairs])
    assert (found.low, found.high) == pytest.approx((max(-1.0, low), min(1.0, high)), abs=1e-12)


answers = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=300)


@given(answers)
def test_mcnemar_is_scipys_and_statsmodels_exact_test(pairs: list[tuple[bool, bool]]) -> None:
    from scipy.stats import binomtest

    theirs = pytest.importorskip("statsmodels.stats.contingency_tables")
    first, other = [a for a, _ in pairs], [b for _, b in pairs]
    cells = [[sum(pair == (a, b) for pair in pairs) for b in (True, False)] for a in (True, False)]
    found = mcnemar(first, other)
    assert found == pytest.approx(theirs.mcnemar(cells, exact=True).pvalue, abs=1e-12)
    won, lost = cells[1][0], cells[0][1]
    assert found == pytest.approx(binomtest(won, won + lost).pvalue if won + lost else 1.0, abs=1e-12)
    assert found == mcnemar(other, first)


def test_mcnemar_known_values() -> None:
    assert mcnemar([], []) == mcnemar([True, False], [True, False]) == 1.0
    assert mcnemar([False] * 5, [True] * 5) == 2 / 32
    assert 0 <= mcnemar([False] * 5000, [True] * 5000) < 1e-300, "many instances are no overflow"
    with pytest.raises(DataError, match="same length"):
        mcnemar([True], [])


accuracies = st.lists(st.integers(0, 240).map(lambda k: k / 240), min_size=2, max_size=12)


@given(accuracies, st.randoms(use_true_random=False))
def test_the_test_of_a_mean_is_scipys(first: list[float], random: Random) -> None:
    from scipy.stats import ttest_rel

    other = [random.randint(0, 240) / 240 for _ in first]
    differences = [b - a for a, b in zip(first, other, strict=True)]
    found = t_test(differences)
    if len({round(d, 9) for d in differences}) > 1:
        assert found == pytest.approx(ttest_rel(other, first).pvalue, abs=1e-12)
    else:
        assert found == (None if round(differences[0], 9) else 1.0)


def test_one_difference_and_equal_ones_are_no_test() -> None:
    assert t_test([0.1]) is None and t_test([0.1, 0.1 + 1e-16, 0.1]) is None
    assert t_test([0.0, 0.0]) == 1.0


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_statsmodels(values: list[float]) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    theirs = list(multitest.multipletests(values, method="holm")[1]) if values else []
    assert holm(values) == pytest.approx(theirs)
    assert holm([None, *values]) == [None, *holm(values)], "what is no test is not of the family"


def test_holm_known_values() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_the_effect_size_is_the_mean_over_the_deviation_corrected_for_few_pairs() -> None:
    # Three differences of mean 2 and deviation 1; the correction for 2 degrees of freedom is 1/sqrt(pi).
    assert effect_size([1.0, 2.0, 3.0]) == pytest.approx(2 / math.sqrt(math.pi))
    assert effect_size([-1.0, -2.0, -3.0]) == pytest.approx(-2 / math.sqrt(math.pi))
    many = [1.0, 2.0, 3.0] * 400
    assert effect_size(many) == pytest.approx(2 / stdev(many), rel=1e-3), "of many hardly corrected"
    assert effect_size([1.0, 2.0]) is None and effect_size([1.0, 1.0, 1.0]) is None


def test_curve_area_known_values() -> None:
    assert curve_area([(0, 0.2), (100, 0.4)]) == pytest.approx(0.3)
    assert curve_area([(0, 0.0), (10, 1.0), (100, 1.0)]) == pytest.approx(0.95)
    assert curve_area([(100, 0.4), (0, 0.2)]) == pytest.approx(0.3)
    assert curve_area([(50, 0.7)]) == 0.7
    assert curve_area([(50, 0.6), (50, 0.8)]) == pytest.approx(0.7)
    with pytest.raises(DataError):
        curve_area([])


def test_curve_area_up_to_a_number_of_rows() -> None:
    assert curve_area([(0, 0.2), (100, 0.4), (200, 1.0)], 100) == pytest.approx(0.3)
    assert curve_area([(0, 0.2), (100, 0.4)], 50) == pytest.approx(0.25), "half way: 0.3"
    assert curve_area([(0, 0.2), (100, 0.4)], 300) == pytest.approx(0.3), "as far as it goes"
    assert curve_area([(0, 0.2), (100, 0.4)], 0) == 0.2
    with pytest.raises(DataError):
        curve_area([(50, 0.5)], 20)


points = st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 1)), min_size=1, max_size=12)


@given(points)
def test_curve_area_is_a_mean_accuracy(curve: list[tuple[int, float]]) -> None:
    area = curve_area(curve)
    assert min(y for _, y in curve) - 1e-9 <= area <= max(y for _, y in curve) + 1e-9
    assert curve_area([(x, y / 2) for x, y in curve]) == pytest.approx(area / 2)


@given(points, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_target_never_needs_fewer_rows(curve: list[tuple[int, float]], a: float, b: float) -> None:
    low, high = rows_to_target(curve, min(a, b)), rows_to_target(curve, max(a, b))
    assert high is None or (low is not None and low <= high)


def test_rows_to_target() -> None:
    curve = [(0, 0.2), (100, 0.5), (200, 0.4), (300, 0.6)]
    assert [rows_to_target(curve, t) for t in (0.1, 0.5, 0.55, 0.9)] == [0, 100, 300, None]
    assert rows_to_target([], 0.5) is None


def test_diversity_falls_with_repetition_and_forms() -> None:
    same = diversity(["What is 47 + 85?"] * 40)
    forms = diversity([f"What is {n} + {n * 7}?" for n in range(40)])
    free = diversity([problem(skill, 1, n).question for n, skill in enumerate(sorted(SKILLS) * 4)][:40])
    assert diversity([]) is None and same is not None and forms is not None and free is not None
    assert 0 < same < forms < free < 1
