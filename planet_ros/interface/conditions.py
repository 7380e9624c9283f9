"""When an episode has ended: a condition on what is observed, read by a small parser of its own.

```
condition   = conjunction { "or" conjunction }
conjunction = negation { "and" negation }
negation    = "not" negation | comparison
comparison  = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
sum         = product { ("+" | "-") product }
product     = sign { ("*" | "/") sign }
sign        = ("-" | "+") sign | atom
atom        = number | name | function "(" sum { "," sum } ")" | "(" condition ")"
```

A name is that of an observed field, or of one of its numbers, such as ``position[pole]``; one with
blanks or other signs stands in quotes. Fields of several numbers are calculated with one by one,
and ``min`` and ``max`` make one number of all that they are given. Nothing is evaluated but this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from planet_ros.errors import UserError
from planet_ros.messages.fields import quoted, shortened

MAX_TEXT = 1000
"""Characters of a condition at most."""

MAX_DEPTH = 30
"""Brackets and signs in one another at most."""

Values: TypeAlias = Mapping[str, "NDArray[np.floating] | float"]
"""Numbers (k,), or one, by name."""

_Evaluate: TypeAlias = Callable[[Values], Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)"
    r"|(?P<sign><=|>=|==|!=|[-+*/<>(),])"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\[[^\[\]'\"]*\])?(?:\.[A-Za-z_][A-Za-z0-9_]*"
    r"(?:\[[^\[\]'\"]*\])?)*)"
    r"|'(?P<single>[^']+)'|\"(?P<double>[^\"]+)\")"
)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "min": lambda *values: min(float(np.min(value)) for value in values),
    "max": lambda *values: max(float(np.max(value)) for value in values),
}
_ANY_NUMBER_OF_ARGUMENTS = ("min", "max")
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
}
_WORDS = ("and", "or", "not")


@dataclass(frozen=True)
class Condition:
    """What holds, or does not, of what is observed; made by `parse_condition`.

    Attributes:
        text: As it was written.
        names: Names in it, each once, in their order.
    """

    text: str
    names: tuple[str, ...]
    _evaluate: _Evaluate

    def holds(self, values: Values) -> bool:
        """Whether it holds.

        A comparison with what is not finite, such as the root of a negative number, does not hold.

        Args:
            values: Numbers by name; others than those named are passed over.

        Raises:
            UserError: A name is not among them, or several numbers are compared at once.
        """
        with np.errstate(all="ignore"):
            return bool(self._evaluate(values))


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        UserError: It is none; the text says where.
    """
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT:
        raise UserError(f"condition: found {quoted(text)}, expected 1 to {MAX_TEXT} characters")
    return _Parser(text).parse()


@dataclass(frozen=True)
class _Token:
    kind: str  # number, sign, word, name, end
    text: str
    at: int


@dataclass(frozen=True)
class _Node:
    """A part of a condition: true or false, or numbers."""

    is_truth: bool
    evaluate: _Evaluate


class _Parser:
    """One text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._tokenise()
        self._next = 0
        self._depth = 0
        self._names: dict[str, None] = {}

    def parse(self) -> Condition:
        node = self._condition()
        if self._token.kind != "end":
            raise self._refused("an operator, or the end")
        if not node.is_truth:
            raise UserError(
                f"condition {quoted(self._text)}: found a number, expected a comparison, such as "
                "abs(position[pole]) > 0.4"
            )
        return Condition(self._text, tuple(self._names), node.evaluate)

    def _tokenise(self) -> list[_Token]:
        tokens: list[_Token] = []
        at, end = 0, len(self._text.rstrip())
        while at < end:
            found = _TOKEN.match(self._text, at)
            if found is None:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                raise self._refused_at(at, "a number, a name, an operator or a bracket")
            kind = str(found.lastgroup)
            word = found[kind]
            if kind in ("single", "double"):
                kind = "quoted"
            elif word in _WORDS:
                kind = "word"
            tokens.append(_Token(kind, word, found.end() - len(found[0].lstrip())))
            at = found.end()
        return [*tokens, _Token("end", "", len(self._text))]

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> _Token | None:
        """The next sign or word, where it is one of these."""
        token = self._token
        if token.kind in ("sign", "word") and token.text in texts:
            self._next += 1
            return token
        return None

    # ── the grammar, from the outside in ─────────────────────────────────────────────────────

    def _condition(self) -> _Node:
        return self._joined("or", self._conjunction, any)

    def _conjunction(self) -> _Node:
        return self._joined("and", self._negation, all)

    def _joined(
        self, word: str, inner: Callable[[], _Node], of_all: Callable[[Iterable[bool]], bool]
    ) -> _Node:
        first = inner()
        if self._token.text != word or self._token.kind != "word":
            return first
        parts = [self._truth(first).evaluate]
        while self._take(word):
            parts.append(self._truth(inner()).evaluate)
        return _Node(True, lambda values: of_all(part(values) for part in parts))

    def _negation(self) -> _Node:
        if not self._take("not"):
            return self._comparison()
        self._enter()
        inner = self._truth(self._negation()).evaluate
        self._depth -= 1
        return _Node(True, lambda values: not inner(values))

    def _comparison(self) -> _Node:
        left = self._sum()
        sign = self._take(*_COMPARISONS)
        if sign is None:
            return left
        left, right = self._numbers(left), self._numbers(self._sum())
        if self._token.text in _COMPARISONS:
            raise self._refused("and, or, or the end: comparisons are not chained")
        compare, text, at = _COMPARISONS[sign.text], quoted(self._text), sign.at

        def evaluate(values: Values) -> bool:
            one, other = left.evaluate(values), right.evaluate(values)
            if np.size(one) != 1 or np.size(other) != 1:
                raise UserError(
                    f"condition {text}: found {max(np.size(one), np.size(other))} numbers compared "
                    f"at {at}, expected one; name one, or take max(…) or min(…) of them"
                )
            one, other = float(np.ravel(one)[0]), float(np.ravel(other)[0])
            return bool(np.isfinite(one) and np.isfinite(other) and compare(one, other))

        return _Node(True, evaluate)

    def _sum(self) -> _Node:
        return self._calculated(("+", "-"), self._product)

    def _product(self) -> _Node:
        return self._calculated(("*", "/"), self._sign)

    def _sign(self) -> _Node:
        sign = self._take("-", "+")
        if sign is None:
            return self._atom()
        self._enter()
        inner = self._numbers(self._sign()).evaluate
        self._depth -= 1
        return _Node(
            False, inner if sign.text == "+" else lambda values: np.negative(inner(values))
        )

    def _atom(self) -> _Node:
        token = self._token
        if self._take("("):
            self._enter()
            node = self._condition()
            self._close()
            return node
        if token.kind == "number":
            self._next += 1
            number = float(token.text)
            return _Node(False, lambda values: number)
        if token.kind not in ("name", "quoted"):
            raise self._refused("a number, a name or a bracket")
        self._next += 1
        if token.kind == "name" and self._token.text == "(" and self._token.kind == "sign":
            return self._function(token)
        return self._named(token.text)

    def _function(self, token: _Token) -> _Node:
        if token.text not in _FUNCTIONS:
            raise self._refused_at(token.at, f"one of {', '.join(_FUNCTIONS)} before a bracket")
        function = _FUNCTIONS[token.text]
        self._take("(")
        self._enter()
        inner = [self._numbers(self._sum()).evaluate]
        while token.text in _ANY_NUMBER_OF_ARGUMENTS and self._take(","):
            inner.append(self._numbers(self._sum()).evaluate)
        self._close()
        return _Node(False, lambda values: function(*(one(values) for one in inner)))

    def _named(self, written: str) -> _Node:
        name = canonical(written)
        self._names[name] = None
        text = quoted(self._text)

        def evaluate(values: Values) -> Any:
            try:
                return values[name]
            except KeyError:
                known = shortened(", ".join(values), 500)
                raise UserError(
                    f"condition {text}: found the name {name!r}, expected one of {known}"
                ) from None

        return _Node(False, evaluate)

    def _calculated(self, signs: tuple[str, ...], inner: Callable[[], _Node]) -> _Node:
        """One after the other, so that a long sum is no deep one."""
        first = inner()
        steps: list[tuple[_Token, _Evaluate]] = []
        while sign := self._take(*signs):
            steps.append((sign, self._numbers(inner()).evaluate))
        if not steps:
            return first
        begin, text = self._numbers(first).evaluate, quoted(self._text)

        def evaluate(values: Values) -> Any:
            value = begin(values)
            for sign, step in steps:
                other = step(values)
                if np.size(value) != np.size(other) and 1 not in (np.size(value), np.size(other)):
                    raise UserError(
                        f"condition {text}: found {np.size(value)} and {np.size(other)} numbers at "
                        f"{sign.at}, expected as many on both sides, or one"
                    )
                value = _ARITHMETIC[sign.text](value, other)
            return value

        return _Node(False, evaluate)

    # ── what it is not ───────────────────────────────────────────────────────────────────────

    def _truth(self, node: _Node) -> _Node:
        if not node.is_truth:
            raise self._refused("a comparison on both sides of and, or, not")
        return node

    def _numbers(self, node: _Node) -> _Node:
        if node.is_truth:
            raise self._refused("numbers, and no comparison, on both sides of an operator")
        return node

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refused(f"at most {MAX_DEPTH} brackets and signs in one another")

    def _close(self) -> None:
        if not self._take(")"):
            raise self._refused("a closing bracket")
        self._depth -= 1

    def _refused(self, expected: str) -> UserError:
        return self._refused_at(self._token.at, expected)

    def _refused_at(self, at: int, expected: str) -> UserError:
        rest = self._text[at : at + 20]
        found = quoted(rest) if rest.strip() else "the end"
        return UserError(
            f"condition {quoted(self._text)}: found {found} at {at}, expected {expected}"
        )


def canonical(name: str) -> str:
    """The name of a field with the blanks that a path has: ``position[a, b]``."""
    return re.sub(
        r"\[([^\[\]]*)\]",
        lambda found: "[" + ", ".join(one.strip() for one in found[1].split(",")) + "]",
        name,
    )
