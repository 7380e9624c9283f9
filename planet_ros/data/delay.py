"""How many periods pass before a command shows in what is observed: an estimate from experience.

```
observation  o0 ───── o1 ───── o2 ───── o3 ───── o4         a delay of 2: the change to o4 is
command         a0       a1       a2       a3               explained by a1, and not by a2 or a3
```

Each change o(t+1) - o(t) is predicted from the state, the change before it, and the commands
a(t - lag) of all lags together, by ridge regression on random features (Rahimi & Recht 2007). What
a lag is worth is how much worse the changes are predicted, on steps that were held out, when the
commands of that lag alone are left out. So a command that merely resembles the one that acted, as
where commands change slowly or follow from the state, is worth nothing beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.episode import Episode

Array = NDArray[np.float64]

MOST_ROWS = 2000
"""Changes that are looked at, spread over all there are; more would cost time and tell no more."""

FEWEST_ROWS = 100
"""Changes below which nothing is said."""

MOST_NUMBERS = 40
"""Numbers of the observation that are looked at: those that go with the commands the most."""

LEAST_CERTAINTY = 5.0
"""Standard errors by which a lag must be worth something; the greatest of some hundred values that
mean nothing stays below."""

LEAST_SHARE = 0.1
"""Of the variance that the best lag explains: an earlier lag that explains as much acts too."""

_FOLDS = 5
_BLOCK_ROWS = 10
_RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_STATE_FEATURES = 150
_LAG_FEATURES = 6
_REWEIGHTINGS = 3
_TINY = 1e-12


@dataclass(frozen=True)
class Lag:
    """What the commands of some periods earlier explain.

    Attributes:
        periods: Between the command and the period in which it acts; below 0 where more was
            compensated than there is.
        explained: Share of what the other lags leave unexplained, from 0 to 1.
        certainty: Standard errors between that and nothing.
    """

    periods: int
    explained: float
    certainty: float


@dataclass(frozen=True)
class DelayEstimate:
    """What experience says about the delay.

    Attributes:
        compensated: Periods that the steps' actions were shifted by when they were made.
        lags: Of all that were looked at, beyond what is compensated, in their order.
        more: Periods beyond what is compensated; None where the experience does not tell.
        reason: Why it does not; empty where it does.
        rows: Changes that were looked at.
        shown_by: The number that shows the commands best, such as ``joint[2]``.
    """

    compensated: int
    lags: tuple[Lag, ...]
    more: int | None
    reason: str
    rows: int
    shown_by: str = ""

    @property
    def delay_periods(self) -> int | None:
        """What the interface's ``delay_periods`` should be; None where it is not known."""
        return None if self.more is None else self.compensated + self.more

    @property
    def wrong(self) -> bool:
        """Whether something else is known than what is compensated."""
        return self.more not in (None, 0)

    @property
    def text(self) -> str:
        """One sentence for a person."""
        if self.more is None:
            return f"delay: the steps do not tell: {self.reason}"
        text = f"delay: compensated {self.compensated}, found {abs(self.more)} "
        text += f"{'too many' if self.more < 0 else 'more'}; "
        if self.more == 0:
            return f"{text}delay_periods: {self.delay_periods} is right"
        return f"{text}set delay_periods: {self.delay_periods} in the interface, and learn anew"

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "delay_periods": self.delay_periods,
            "compensated": self.compensated,
            "more": self.more,
            "reason": self.reason,
            "shown_by": self.shown_by,
            "steps": self.rows,
            "lags": [asdict(lag) for lag in self.lags],
        }


def estimate_delay(
    episodes: Sequence[Episode],
    *,
    parts: Iterable[str] | None = None,
    most: int = 10,
    compensated: int = 0,
    seed: int = 0,
) -> DelayEstimate:
    """Estimate how many periods pass before a command shows.

    At most `MOST_ROWS` changes are looked at, which takes some tenths of a second.

    Args:
        episodes: Experience, oldest first.
        parts: Names of the vectors to look at; None: all.
        most: Periods to look back, at least 1. It looks back less far where episodes are short.
        compensated: Periods that actions were already shifted by.
        seed: Of the random features.

    Raises:
        ValueError: `most` is less than 1.
    """
    if most < 1:
        raise ValueError(f"most: found {most}, expected at least 1")
    names = _vectors(episodes, parts)
    if episodes and not names:
        return _unknown(compensated, "nothing but images is observed, expected numbers", 0)
    places = _places(episodes, most, compensated)
    while most > 1 and 2 * len(places) < sum(map(len, episodes)):
        most -= 1  # short episodes: what is long ago is not in them
        places = _places(episodes, most, compensated)
    rows = len(places)
    if rows < FEWEST_ROWS:
        return _unknown(compensated, f"found {rows} usable steps, expected {FEWEST_ROWS}", rows)
    if rows > MOST_ROWS:
        places = places[np.linspace(0, rows - 1, MOST_ROWS).astype(int)]
    lags = np.arange(-compensated, most + 1)
    state, changes, commands = _tables(episodes, names, places, lags)
    if not commands.any():
        return _unknown(compensated, "the commands never change; send others", rows)
    if not changes.any():
        return _unknown(compensated, "nothing that is observed ever changes", rows)
    chosen = _that_go_with(changes, commands)
    worth, errors = _worth(
        state[:, :, chosen].reshape(len(places), -1),
        changes[:, chosen],
        commands,
        np.random.default_rng(seed),
    )
    certainty = worth / errors
    shown = int(np.argmax(np.where(certainty >= LEAST_CERTAINTY, worth, 0.0).max(axis=0)))
    more, reason = _verdict(lags, worth[:, shown], certainty[:, shown])
    return DelayEstimate(
        compensated,
        tuple(
            Lag(int(lag), float(-np.expm1(-max(0.0, gain))), float(sure))
            for lag, gain, sure in zip(lags, worth[:, shown], certainty[:, shown], strict=True)
        ),
        more,
        reason,
        len(places),
        _numbers(episodes, names)[chosen[shown]],
    )


def _unknown(compensated: int, reason: str, rows: int) -> DelayEstimate:
    return DelayEstimate(compensated, (), None, reason, rows)


def _verdict(lags: NDArray[np.int64], worth: Array, certainty: Array) -> tuple[int | None, str]:
    """The delay, or why there is none."""
    sure = certainty >= LEAST_CERTAINTY
    if not sure.any():
        return None, (
            f"no command of the last {lags[-1]} periods goes with any change; collect more steps, "
            "with commands that change from one to the next, or look further back (planet-ros "
            "delay --max)"
        )
    variance = np.where(sure, np.expm1(np.minimum(worth, 700.0)), 0.0)
    first = int(np.argmax(variance >= LEAST_SHARE * variance.max()))
    if first == len(lags) - 1:
        return None, (
            f"the longest delay that was looked for, {lags[-1]} periods, explains the most; look "
            "further back (planet-ros delay --max), in episodes of more than twice as many steps"
        )
    return int(lags[first]), ""


# ── the tables ───────────────────────────────────────────────────────────────────────────────────


def _vectors(episodes: Sequence[Episode], parts: Iterable[str] | None) -> list[str]:
    """Names of the vectors to look at."""
    if not episodes:
        return []
    wanted = episodes[0].observation if parts is None else parts
    return [name for name in wanted if episodes[0].observation[name].ndim == 2]


def _numbers(episodes: Sequence[Episode], names: Sequence[str]) -> list[str]:
    """What each number of the vectors is called."""
    seen = episodes[0].observation
    return [f"{name}[{index}]" for name in names for index in range(seen[name].shape[1])]


def _places(episodes: Sequence[Episode], most: int, compensated: int) -> NDArray[np.int64]:
    """(N, 2) episode and step of every change whose commands of all lags are known."""
    found = [
        np.stack(np.broadcast_arrays(number, np.arange(most, len(episode) - compensated)), axis=1)
        for number, episode in enumerate(episodes)
    ]
    return np.concatenate(found) if found else np.zeros((0, 2), np.int64)


def _tables(
    episodes: Sequence[Episode],
    names: Sequence[str],
    places: NDArray[np.int64],
    lags: NDArray[np.int64],
) -> tuple[Array, Array, Array]:
    """What is predicted from what, scaled.

    Returns:
        (N, 2, O) states and the changes before them, (N, O) the changes after them, and (N, L, A)
        the commands of all lags.
    """
    seen, commands = [], []
    for number in np.unique(places[:, 0]):
        episode, steps = episodes[number], places[places[:, 0] == number, 1]
        values = np.concatenate([episode.observation[name] for name in names], axis=1, dtype=float)
        seen.append(np.stack([values[steps - 1], values[steps], values[steps + 1]]))
        commands.append(episode.action[steps[:, None] - lags].astype(float))
    before, now, after = np.concatenate(seen, axis=1)
    state = np.stack([_scaled(now), _scaled(now - before)], axis=1)
    every = np.concatenate(commands)
    sent = _scaled(every.reshape(-1, every.shape[2])).reshape(every.shape)
    return state, _scaled(after - now), sent


def _scaled(values: Array) -> Array:
    """Columns of mean 0 and variance 1, and zeros where they do not vary."""
    middle, spread = values.mean(axis=0), values.std(axis=0)
    varies = spread > 1e-7 * np.abs(values).max(axis=0)
    return np.where(varies, (values - middle) / np.where(varies, spread, 1.0), 0.0)


def _that_go_with(changes: Array, commands: Array) -> NDArray[np.int64]:
    """Which numbers to look at: those that change, and of these `MOST_NUMBERS` at most."""
    alike = np.abs(np.einsum("no,nla->ola", changes, commands)).max(axis=(1, 2))
    varying = np.flatnonzero(changes.any(axis=0))
    return np.sort(varying[np.argsort(-alike[varying], kind="stable")[:MOST_NUMBERS]])


# ── the regression ───────────────────────────────────────────────────────────────────────────────


def _worth(
    state: Array, changes: Array, commands: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """How much worse changes are predicted without the commands of each lag.

    Args:
        state: (N, S).
        changes: (N, O).
        commands: (N, L, A).
        rng: Of the random features.

    Returns:
        (L, O) mean logarithm of the ratio of the squared errors on held-out rows, and its standard
        error. A few large errors do not decide, as they would in a mean of squares.
    """
    features, owner = _features(state, commands, rng)
    lags = commands.shape[1]
    weights = np.ones(len(changes))
    for _ in range(_REWEIGHTINGS):
        # Where the dynamics have a kink, such as a stop, a few large errors would bend the rest.
        size = _errors(features, owner, changes, weights, 0)[0]
        weights = 1 / (1 + (size / (4 * np.median(size, axis=0) + _TINY)).max(axis=1))
    with_all, without = _errors(features, owner, changes, weights, lags)
    floor = np.median(with_all, axis=0) + _TINY
    gains = np.log((without + floor) / (with_all + floor))
    blocks = len(changes) // _BLOCK_ROWS
    means = gains[:, : blocks * _BLOCK_ROWS].reshape(lags, blocks, _BLOCK_ROWS, -1).mean(axis=2)
    return means.mean(axis=1), means.std(axis=1, ddof=1) / np.sqrt(blocks) + _TINY


def _errors(
    features: Array, owner: NDArray[np.int64], changes: Array, weights: Array, lags: int
) -> tuple[Array, Array]:
    """Squared errors on held-out rows: with all features (N, O), and without each lag's (L, N, O).

    Each number of the observation has the ridge that predicts it best.
    """
    rows = len(changes)
    # Folds of several stretches each, since what is done changes in the course of learning.
    fold = np.arange(rows) * 5 * _FOLDS // rows % _FOLDS
    held_out = [fold == number for number in range(_FOLDS)]
    weighted = features * weights[:, None]
    squares = [weighted[here].T @ features[here] for here in held_out]
    products = [weighted[here].T @ changes[here] for here in held_out]
    best = np.full(changes.shape[1], np.inf)
    with_all, without = np.empty(changes.shape), np.empty((lags, *changes.shape))
    for ridge in _RIDGES:
        full, left_out = np.empty_like(with_all), np.empty_like(without)
        for number, here in enumerate(held_out):
            square = sum(squares) - squares[number] + ridge * rows * np.eye(len(owner))
            inverse = np.linalg.inv(square)
            found = inverse @ (sum(products) - products[number])
            full[here] = (changes[here] - features[here] @ found) ** 2
            for lag in range(lags):
                # What would have been found if these features had not been there.
                own = np.flatnonzero(owner == lag)
                correction = np.linalg.solve(inverse[np.ix_(own, own)], found[own])
                others = found - inverse[:, own] @ correction
                left_out[lag, here] = (changes[here] - features[here] @ others) ** 2
        size = np.log(full + _TINY).mean(axis=0)
        better = size < best
        best[better], with_all[:, better] = size[better], full[:, better]
        without[:, :, better] = left_out[:, :, better]
    return with_all, without


def _features(
    state: Array, commands: Array, rng: np.random.Generator
) -> tuple[Array, NDArray[np.int64]]:
    """Features (N, F) to predict from, and the lag (F,) that each belongs to; -1: the state."""
    rows, lags, actions = commands.shape
    scale = 1.5 / np.sqrt(state.shape[1])
    hidden = min(_STATE_FEATURES, rows // 5)
    weights = rng.standard_normal((state.shape[1], hidden)) * scale
    columns = [np.ones((rows, 1)), state, np.tanh(state @ weights + rng.uniform(-1, 1, hidden))]
    owner = [np.full(1 + state.shape[1] + hidden, -1)]
    # What a command does may depend on the state and on how large it is: the same for each lag.
    from_state = state @ rng.standard_normal((state.shape[1], _LAG_FEATURES)) * scale
    from_state += rng.uniform(-1, 1, _LAG_FEATURES)
    mixed = rng.standard_normal((actions, _LAG_FEATURES)) / np.sqrt(actions)
    for lag in range(lags):
        sent = commands[:, lag]
        columns += [sent, np.tanh(from_state + sent @ mixed) - np.tanh(from_state)]
        owner.append(np.full(actions + _LAG_FEATURES, lag))
    return np.concatenate(columns, axis=1), np.concatenate(owner)
