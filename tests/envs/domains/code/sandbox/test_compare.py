"""When two values, or two printed texts, are the same."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.domains.code.sandbox.compare import same_output, same_value

NESTED: Any = [1]
for _ in range(100_000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ([1, 2], (1, 2)),
        ([[1], [2]], [(1,), (2,)]),
        (0.1 + 0.2, 0.3),
        (1e9, 1e9 + 1),
        (2, 2.0),
        (2.0, 2),
        (10**18, 1e18),
        (0.3, 0.3 + 1e-9),
        (True, 1),
        ({"1": "a"}, {1: "a"}),
        ({"true": 1}, {True: 1}),
        (float("nan"), float("nan")),
        (10**400, 10**400),
        (2, Decimal(2)),
        (0.1, Decimal("0.1")),
        (0.5, Fraction(1, 2)),
        (1 / 3, Fraction(1, 3)),
    ],
)
def test_values_that_are_the_same(expected: Any, got: Any) -> None:
    assert same_value(expected, got)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ([1, 2], [2, 1]),
        ([1, 2], [1, 2, 3]),
        ([1, 2], {1, 2}),
        ("1", 1),
        (None, 0),
        (None, False),
        (0.5, "0.5"),
        (0.5, 0.51),
        (5, 5.000004),
        (10**18 + 1, 1e18),
        ([10**9 + 7], [1e9 + 8]),
        (1.5, 10**400),
        ({"a": 1}, {"a": 2}),
        ({"1": 1}, {1: 1, "1": 1}),
        (NESTED, NESTED[0]),
        (float("nan"), 1.0),
        (2, Decimal("sNaN")),
        (2.0, Decimal("1e999999999")),
        ("2", Decimal(2)),
        ({"[1, 2]": 3}, {(1, 2): 3}),
        ({"None": 3}, {(): 3}),
        ([], set()),
    ],
)
def test_values_that_are_not(expected: Any, got: Any) -> None:
    assert not same_value(expected, got)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_a_value_is_the_same_as_itself(value: Any) -> None:
    assert same_value(value, value)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("3\n4\n", "3\n4"),
        ("3 4", "  3   4  \n"),
        ("3\r\n4", "3\n4"),
        ("0.333333333", "0.3333333"),
        ("5", "5.0"),
        ("YES", "YES\n\n"),
        ("1e3", "1000"),
        ("1.5E3", "1500.0001"),
        ("3 4.0", "3.0\t4"),
    ],
)
def test_texts_that_are_the_same(expected: str, got: str) -> None:
    assert same_output(expected, got)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("3\n4", "4\n3"),
        ("3\n4", "3 4"),
        ("YES", "yes"),
        ("1000000001", "1000000000"),
        ("1000000007", "1000000008.0"),
        ("1 1000000007", "1 1.000000008e9"),
        ("#.# #", "#.#   #"),
        ("YES 1", "YES  1"),
        ("0.5", "0.6"),
        ("nan", "1"),
        ("1", ""),
        ("1e999999999", "1"),
        ("0.1", "1e-999999999999999999999"),
    ],
)
def test_texts_that_are_not(expected: str, got: str) -> None:
    assert not same_output(expected, got)


@given(st.text())
def test_a_text_is_the_same_as_itself_with_white_space_around(text: str) -> None:
    assert same_output(text, f"\n {text} \n")
