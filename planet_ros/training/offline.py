"""Learning from experience that is there already, without an environment or a robot.

```
episodes ──► some are held out ──► fit ──► how wrong on those? ──► better than ever: kept
                                    ▲                         │
                                    └──────── not yet offline.patience times in vain
```

Each fit ends with a commit, so that a run that is killed goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from planet_ros.bundle.runtime import Bundle
from planet_ros.config import PlannerSettings, Settings
from planet_ros.control.events import NOVEL
from planet_ros.data import Episode, EpisodeStore
from planet_ros.errors import UserError
from planet_ros.interface.description import Description
from planet_ros.models import WorldModel
from planet_ros.training.coverage import cautious_penalty, planned_novelty
from planet_ros.training.experience import Experience, split
from planet_ros.training.held_out import HeldOut
from planet_ros.training.learner import MakeModel, make_model
from planet_ros.training.progress import Progress
from planet_ros.training.run import RunFolder
from planet_ros.training.session import Session


def train_offline(
    settings: Settings,
    experience: Callable[[], Experience],
    make_model: MakeModel = make_model,
) -> RunFolder:
    """Learn from episodes, or go on where the run in the output folder stopped.

    The model with the least error on held-out episodes is what is exported, and what a run goes on
    with afterwards, with an environment or on a robot.

    Args:
        settings: Of model, planner and training, with a section ``offline``.
        experience: Gives the episodes.
        make_model: Of another kind than the settings name; to continue a run, the same.

    Raises:
        UserError: The episodes do not fit the settings, or the output folder holds a run or cannot
            be written.
        KeyboardInterrupt: Ctrl-C; all up to the last fit is saved.
    """
    offline, found = settings.offline, experience()
    with Progress(offline.rounds, "fits") as progress:
        session = Session(
            settings,
            found.signature,
            environment=found.environment,
            interface=found.interface,
            task=found.task,
            make_model=make_model,
            say=progress.line,
        )
        try:
            if found.interface is None and found.environment is None:
                session.run.save_description(Description(found.signature))
            if session.went_on:
                return session.run  # nothing that was learned since may be undone
            if session.learner.episodes == 0:
                learned, others = split(found.episodes, offline.held_out, settings.seed)
                session.include(learned, others)
                progress.line(
                    f"{sum(map(len, learned))} steps in {len(learned)} episodes, and {len(others)} "
                    "episodes held out"
                )
            judge = _judge(session, settings.planner.horizon)
            progress.start_at(len(session.held_out_errors))
            while not _done(session.held_out_errors, offline.rounds, offline.patience):
                session.fit(judge=judge)
                progress.advance()
            held, chooses = _held_out(session), offline.choose_penalty
            bundle = session.finish_with_best(
                lambda model: _penalty(model, held, settings.planner) if chooses else None
            )
            best = min(session.held_out_errors)
            progress.line(f"held-out error {best:.4f}: {session.run.bundle}")
            for line in _told(bundle, held):
                progress.line(line)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped after {len(session.held_out_errors)} fits; all is saved, continue with: "
                f"planet-ros train --resume --output {session.run.path}"
            ) from None
        finally:
            session.close()
    return session.run


def _held_out(session: Session) -> Sequence[Episode]:
    held = EpisodeStore(session.run.held_out, capacity_steps=10**12, capacity_bytes=10**15).episodes
    if not held:
        raise UserError(f"{session.run.held_out}: found no episodes, expected those held out")
    return held


def _judge(session: Session, horizon: int) -> HeldOut:
    return HeldOut(_held_out(session), session.learner.store.episodes, horizon)


def _penalty(model: WorldModel, held: Sequence[Episode], planner: PlannerSettings) -> float | None:
    """The one to choose; None where somebody has."""
    if planner.disagreement_penalty:
        return None
    return cautious_penalty(model, held, planner.horizon)


def _told(bundle: Bundle, held: Sequence[Episode]) -> Iterator[str]:
    """What a person should know before the model drives anything."""
    novelty = planned_novelty(bundle, held)
    if novelty is None:
        return
    yield (
        f"plans from held-out states: novelty {novelty:.2f} (1: the members disagree as on the "
        f"data), with planner.disagreement_penalty {bundle.manifest.planner.disagreement_penalty:g}"
    )
    if novelty > NOVEL:
        yield (
            "warning: the plans leave what the data covers, and may be wrong there: learn from "
            "more of it, or plan with a larger planner.disagreement_penalty (planet-ros export "
            "--set)"
        )


def _done(errors: list[float], rounds: int, patience: int) -> bool:
    if len(errors) >= rounds:
        return True
    return bool(errors) and len(errors) - 1 - errors.index(min(errors)) >= patience
