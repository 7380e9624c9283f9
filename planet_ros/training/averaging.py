"""The running average of weights, which acts in place of the newest ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


def running_average(
    decay: float,
) -> Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], torch.Tensor | int], None]:
    """Rule of an exponential average whose memory grows with what there is to remember.

    With the full decay from the beginning, the first fits would act by weights that have hardly
    learned; so the decay is at most (1 + n) / (10 + n) after n updates.
    """

    @torch.no_grad()
    def update(
        averages: Sequence[torch.Tensor],
        newest: Sequence[torch.Tensor],
        count: torch.Tensor | int,
    ) -> None:
        kept = min(decay, (1 + int(count)) / (10 + int(count)))
        for average, value in zip(averages, newest, strict=True):
            average.lerp_(value, 1 - kept)

    return update
