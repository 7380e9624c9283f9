"""Whether simulated time goes on."""

from __future__ import annotations

from collections.abc import Callable

LIMIT_S = 2.0
"""Real seconds without any simulated time; a simulation may be slow, or pause for a moment."""


class Standstill:
    """Compares a clock that may stand still with one that does not."""

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        """Begin to watch.

        Args:
            clock: Seconds of the clock that may stand still.
            steady: Seconds of the one that does not.
        """
        self._clock = clock
        self._steady = steady
        self._seen = clock()
        self._since_s = steady()

    def text(self) -> str:
        """What to say of it, to be asked from time to time; empty while time goes on."""
        now, steady_s = self._clock(), self._steady()
        if now != self._seen:
            self._seen, self._since_s = now, steady_s
        stood_s = steady_s - self._since_s
        if stood_s <= LIMIT_S:
            return ""
        return (
            f"simulated time stands still at {now:.3f} s for {stood_s:.0f} s: use_sim_time is set, "
            "so that nothing is done before '/clock' goes on"
        )
