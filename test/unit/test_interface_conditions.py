"""The end of an episode as a condition: what it means, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planet_ros.errors import UserError
from planet_ros.interface.conditions import canonical, parse_condition

SEEN: dict[str, Any] = {
    "x": np.array([2.0]),
    "position[pole]": np.array([-0.5]),
    "pose.position.y": 3.0,
    "position[a, b]": np.array([1.0, -4.0]),
    "pole angle": np.array([0.25]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abs(position[pole]) > 0.4", True),
        ("abs(position[pole])>0.6", False),
        ("x < 2", False),
        ("x <= 2", True),
        ("x >= 2", True),
        ("x == 2", True),
        ("x != 2", False),
        ("pose.position.y - x == 1", True),
        ("x + 2 * 3 == 8", True),
        ("(x + 2) * 3 == 12", True),
        ("x - 1 - 1 == 0", True),
        ("8 / 2 / 2 == x", True),
        ("-x == -2 and +x == 2", True),
        ("x > 1 or x > 9 and x < 0", True),
        ("(x > 1 or x > 9) and x < 0", False),
        ("not x > 3", True),
        ("not (x > 1 and x < 3)", False),
        ("not not x > 1", True),
        ("max(abs(position[a,b])) > 3.9", True),
        ("min(position[a, b], x) == -4", True),
        ("max(position[a, b] * 2 + 1) == 3", True),
        ("sqrt(x * x) == 2", True),
        ("abs(sin(x)) < 0.91 and cos(0) == 1e0", True),
        ("'pole angle' == .25", True),
        ('"pole angle" > 0.3', False),
        ("sqrt(-1) < 1", False),
        ("sqrt(-1) != 1", False),
        ("1 / 0 > 1", False),
    ],
)
def test_conditions_mean_what_they_say(text: str, expected: bool) -> None:
    assert parse_condition(text).holds(SEEN) is expected


def test_names_are_known_before_a_value_is() -> None:
    condition = parse_condition("x > 1 and (position[ a,b ] > 2 or 'pole angle' < x)")
    assert condition.names == ("x", "position[a, b]", "pole angle")
    assert canonical("position[ a,b ].c[0]") == "position[a, b].c[0]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected 1 to 1000 characters"),
        ("x", "found a number, expected a comparison"),
        ("x <", "found the end at 3, expected a number, a name or a bracket"),
        ("x < 1 < 2", "found '< 2' at 6, expected and, or, or the end"),
        ("(x < 1", "found the end at 6, expected a closing bracket"),
        ("x < 1)", "found ')' at 5, expected an operator, or the end"),
        ("x > 1 and 2", "expected a comparison on both sides of and, or, not"),
        ("(x > 1) + 2 > 1", "expected numbers, and no comparison"),
        ("eval(x) > 1", "found 'eval(x) > 1' at 0, expected one of abs, sqrt"),
        ("__import__('os') > 1", "expected one of abs, sqrt"),
        ("abs(x, 1) > 1", "found ', 1) > 1' at 5, expected a closing bracket"),
        ("abs() > 1", "found ') > 1' at 4"),
        ("x ** 2 > 1", "found '* 2 > 1' at 3"),
        ("x & 1 > 1", "found '& 1 > 1' at 2"),
        ("x = 1", "found '= 1' at 2"),
        ("and > 1", "found 'and > 1' at 0"),
        ("x > 1 x", "found 'x' at 6, expected an operator"),
        ("(" * 40 + "x > 1" + ")" * 40, "expected at most 30 brackets"),
        ("-" * 40 + "x > 1", "expected at most 30 brackets"),
        ("not " * 40 + "x > 1", "expected at most 30 brackets"),
        ("1" * 1001, "expected 1 to 1000 characters"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_condition(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("y > 1", "found the name 'y', expected one of x, position[pole]"),
        ("position[a, b] > 1", "found 2 numbers compared at 15, expected one"),
        ("max(position[a, b] + many) > 1", "found 2 and 3 numbers at 19"),
    ],
)
def test_values_that_do_not_fit_are_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_condition(text).holds({**SEEN, "many": np.zeros(3)})
    assert said in str(caught.value)


def test_a_long_condition_is_no_deep_one() -> None:
    began = time.process_time()
    assert parse_condition("+".join("1" * 490) + " > 489").holds({})
    assert parse_condition(" or ".join(["1>2"] * 140)).holds({}) is False
    assert time.process_time() - began < 0.5


@given(
    text=st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "x",
                "1",
                "2.5",
                "(",
                ")",
                "<",
                ">=",
                "+",
                "-",
                "*",
                "/",
                " and ",
                " or ",
                " not ",
                "abs(",
                "min(",
                ",",
                "position[a, b]",
                "'x'",
                "[",
                ".",
            ]
        ),
        max_size=20,
    ).map("".join),
    value=st.floats() | st.lists(st.floats(), min_size=1, max_size=3),
)
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_condition_or_a_user_error(text: str, value: Any) -> None:
    try:
        condition = parse_condition(text)
        found = condition.holds({name: np.atleast_1d(value) for name in condition.names})
    except UserError as error:
        assert len(str(error)) < 1500
    else:
        assert isinstance(found, bool)


# ── beside Python's own reading ──────────────────────────────────────────────────────────────


def numbers(depth: int) -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["x", "y", "1", "2", "0.5"])
    if depth == 0:
        return leaf
    inner = numbers(depth - 1)
    return (
        leaf
        | st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(" ".join)
        | inner.map(lambda one: f"({one})")
        | inner.map(lambda one: f"-{one}")
        | inner.map(lambda one: f"abs({one})")
        | st.tuples(inner, inner).map(lambda two: f"max({two[0]}, {two[1]})")
    )


def truths(depth: int) -> st.SearchStrategy[str]:
    comparison = st.tuples(numbers(2), st.sampled_from(["<", "<=", ">", ">="]), numbers(2))
    leaf = comparison.map(" ".join)
    if depth == 0:
        return leaf
    inner = truths(depth - 1)
    return (
        leaf
        | st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join)
        | inner.map(lambda one: f"({one})")
        | inner.map(lambda one: f"not {one}")
    )


@given(text=truths(2), x=st.floats(-9, 9), y=st.floats(-9, 9))
@settings(max_examples=300, deadline=None)
def test_it_is_read_as_python_reads_it(text: str, x: float, y: float) -> None:
    if len(text) > 1000:
        return
    expected = eval(text, {"__builtins__": {}, "abs": abs, "max": max}, {"x": x, "y": y})
    assert parse_condition(text).holds({"x": x, "y": y}) == expected
