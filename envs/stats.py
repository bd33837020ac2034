"""Intervals, tests and summaries of accuracies, and the diversity of questions.

Fractions everywhere; every interval is a 95% interval.
"""

import math
import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import mean, stdev

from dataenvgym.envs.errors import DataError
from dataenvgym.envs.types import Interval

Z = 1.959963984540054
"""The 97.5% point of the standard normal distribution."""


def wilson(successes: float, n: int) -> Interval:
    """Compute an accuracy with its Wilson score interval (E. B. Wilson, JASA 22, 1927).

    Without trials the value is 0 and the interval 0 to 1. `successes` may be a sum of scores between 0 and 1:
    their variance is at most that of right or wrong with the same mean, so the interval is never too narrow.

    Raises:
        DataError: not 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise DataError(f"successes must lie between 0 and n; got {successes} of {n}")
    if n == 0:
        return Interval(0.0, 0.0, 1.0)
    # scipy's `binomtest(k, n).proportion_ci(method="wilson")` gives the same and takes a second to import.
    share, square = successes / n, Z * Z / n
    middle = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    low = 0.0 if successes == 0 else min(share, max(0.0, middle - half))  # rounding must not leave 0 to 1
    high = 1.0 if successes == n else max(share, min(1.0, middle + half))
    return Interval(share, low, high)


def paired_gain(base: Sequence[float], best: Sequence[float]) -> Interval:
    """Subtract the accuracy of `base` from that of `best`, with an interval; the same instances in the same order.

    A result is right or wrong, or a score between 0 and 1.

    The adjusted Wald interval for a difference of paired proportions, which adds one to each of the two
    counts of unlike pairs (D. G. Bonett, R. M. Price, "Adjusted Wald confidence interval for a difference
    of binomial proportions based on paired data", Journal of Educational and Behavioral Statistics 37(4),
    2012): with b pairs that only `best` has right, c only `base`, p = (b + 1)/(n + 2) and
    q = (c + 1)/(n + 2), the limits are p - q -/+ z sqrt((p + q - (p - q)^2)/(n + 2)),
    kept within -1 and 1. The value is the plain difference (b - c)/n. No instances: 0, from -1 to 1. That is the
    normal interval of the differences d with two more, 1 and -1, so for scores (p + q) is the mean of d squared.

    Raises:
        DataError: the two do not have the same length.
    """
    n = len(base)
    if n != len(best):
        raise DataError(f"paired results must have the same length; got {n} and {len(best)}")
    if n == 0:
        return Interval(0.0, -1.0, 1.0)
    gains = [float(after) - float(before) for before, after in zip(base, best, strict=True)]
    total = math.fsum(gains)
    middle, square = total / (n + 2), (math.fsum(gain * gain for gain in gains) + 2) / (n + 2)
    half = Z * math.sqrt(square - middle**2) / math.sqrt(n + 2)
    return Interval(total / n, max(-1.0, middle - half), min(1.0, middle + half))


def mcnemar(first: Sequence[bool], other: Sequence[bool]) -> float:
    """Test whether two students are equally accurate on the same instances, in the same order; the p-value.

    McNemar's exact test, two-sided (Q. McNemar, Psychometrika 12, 1947): of the instances that one of them alone
    has right, each is as likely to be the one's as the other's. Without any such instance p is 1.

    Raises:
        DataError: the two do not have the same length.
    """
    if len(first) != len(other):
        raise DataError(f"paired results must have the same length; got {len(first)} and {len(other)}")
    won = sum(1 for x, y in zip(first, other, strict=True) if y and not x)
    lost = sum(1 for x, y in zip(first, other, strict=True) if x and not y)
    # scipy's `binomtest(won, won + lost).pvalue`, in whole numbers, which takes no second to import.
    n, ways, tail = won + lost, 1, 0
    for k in range(min(won, lost) + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << n))


NO_SPREAD = 1e-12
"""Accuracies whose standard deviation is below this are equal but for rounding."""


def t_test(differences: Sequence[float]) -> float | None:
    """Test whether the mean of paired differences is zero; the p-value of Student's two-sided test.

    None where the test says nothing: fewer than two differences, or all the same and not zero. All zero: 1.
    """
    if len(differences) < 2:
        return None
    if stdev(differences) < NO_SPREAD:
        return 1.0 if abs(mean(differences)) < NO_SPREAD else None
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(differences, 0.0).pvalue)


def effect_size(differences: Sequence[float]) -> float | None:
    """Divide the mean of paired differences by their standard deviation, corrected for few of them.

    Cohen's d of differences times the exact correction of L. V. Hedges (Journal of Educational Statistics 6,
    1981), without which three pairs give nearly twice the true effect. None for fewer than three differences,
    where the corrected effect is not defined, or without spread.
    """
    freedom = len(differences) - 1
    if freedom < 2 or stdev(differences) < NO_SPREAD:
        return None
    correction = math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)
    return correction * mean(differences) / stdev(differences)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Adjust the p-values of a family of tests so that all hold together (S. Holm, Scandinavian Journal of
    Statistics 6, 1979): below .05 is then at most one family in twenty by chance, not one test.

    None, a test that says nothing, stays None and is not of the family. The order stays.
    """
    ordered = sorted((p, at) for at, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (p, at) in enumerate(ordered):
        highest = max(highest, min(1.0, p * (len(ordered) - rank)))
        adjusted[at] = highest
    return adjusted


def curve_area(points: Iterable[tuple[int, float]], rows: int | None = None) -> float:
    """Mean accuracy over the range of rows: the area under (rows, accuracy) by trapezoids, divided by the
    range. The order of the points does not matter; one point (or one row count) gives its mean accuracy.

    `rows`: where the range ends; None: at the last point. Curves are comparable over the same range only. Between
    two points the accuracy is interpolated; a curve that ends earlier is taken as far as it goes.

    Raises:
        DataError: no point, or none up to `rows`.
    """
    ordered = sorted(points)
    if rows is not None:
        within = [point for point in ordered if point[0] <= rows]
        beyond = next((point for point in ordered if point[0] > rows), None)
        if within and beyond is not None and within[-1][0] < rows:
            (x0, y0), (x1, y1) = within[-1], beyond
            within.append((rows, y0 + (y1 - y0) * (rows - x0) / (x1 - x0)))
        ordered = within
    if not ordered:
        raise DataError("the area under a curve needs at least one point (rows, accuracy)")
    width = ordered[-1][0] - ordered[0][0]
    if width == 0:
        return math.fsum(accuracy for _, accuracy in ordered) / len(ordered)
    pairs = pairwise(ordered)
    return math.fsum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairs) / width


def rows_to_target(points: Iterable[tuple[int, float]], target: float) -> int | None:
    """Find the fewest rows at which the accuracy reached `target`; None when it never did."""
    return min((rows for rows, accuracy in points if accuracy >= target), default=None)


def diversity(questions: Sequence[str]) -> float | None:
    """Divide the compressed by the plain size of the questions: 0 (all the same) to about 1; None for none.

    The compression ratio (here its inverse, by zlib) is the cheapest of the measures that agree with slower ones
    on repeated phrases and patterns (Shaib et al. 2024, arXiv 2403.00553). It falls as a text grows, so compare
    equal numbers of rows.
    """
    text = "\n".join(questions).encode()
    return len(zlib.compress(text, 9)) / len(text) if text else None
