"""How well the disagreement of a model tells the error of the rewards that it predicts.

Fresh episodes, half of them planned and half of random actions, are filtered step by step; from
each step the model predicts the rewards of the episode's own actions. Printed is Spearman's rank
correlation between the disagreement and the absolute error, after some numbers of steps and over
all steps together. For the recurrent model there are two ways to have a disagreement, and what each
costs in onnxruntime: latents drawn from every step's prior around the expected trajectory, which is
what `imagine` does, and whole trajectories that are drawn from start to end.

    python benchmarks/disagreement.py --run runs/pendulum
    python benchmarks/disagreement.py --run runs/angle --episodes 10
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from planning import interleaved, print_machine, print_table
from scipy.stats import spearmanr
from torch import Tensor

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.control.exploration import RandomPolicy
from planet_ros.control.policy import PlanningPolicy, Policy
from planet_ros.data import Episode, EpisodeBuilder
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.models import Rssm, WorldModel
from planet_ros.models.contract import Imagined
from planet_ros.training.collect import collect
from planet_ros.training.export import open_checkpoint
from planet_ros.training.run import RunFolder

FIRST_START = 3_000_000
"""Of the fresh episodes; training counts up from its seed."""

HORIZONS = (1, 5, 12)
CANDIDATES = 40
DEFAULT_SAMPLES = 8
Array = NDArray[np.float64]


def main() -> None:
    options = _options()
    saved = open_checkpoint(options.run_folder, {"training.device": "cpu"})
    model, settings = saved.model, saved.settings
    continues = settings.world_model.predict_continue
    bundle = load_bundle(RunFolder(options.run_folder).bundle)

    models: dict[str, WorldModel] = {}
    if not isinstance(model, Rssm):
        models["spread of the members"] = model
    else:
        samples = settings.rssm.disagreement_samples or DEFAULT_SAMPLES
        around = with_samples(model, samples, continues)
        models[f"{samples} latents around the expected trajectory"] = around
        models[f"{samples} whole trajectories"] = WholeTrajectories(
            around, max(HORIZONS), continues
        )

    environment, count = Environment(EnvironmentSpec.of(settings)), options.episodes
    planned, drawn = PlanningPolicy.of(bundle, FIRST_START), RandomPolicy(model.signature, seed=0)
    try:
        episodes = {
            "planned": whole_episodes(planned, environment, FIRST_START, count),
            "random": whole_episodes(drawn, environment, FIRST_START + count, count),
        }
    finally:
        environment.close()
    episodes["both"] = [*episodes["planned"], *episodes["random"]]

    columns = [*(f"h = {horizon}" for horizon in HORIZONS), "overall", "median error"]
    print(f"| disagreement | actions | {' | '.join(columns)} |\n{'| --- ' * (len(columns) + 2)}|")
    for name, one in models.items():
        for actions, chosen in episodes.items():
            cells = correlations(*predictions(one, chosen))
            print(f"| {name} | {actions} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    if isinstance(model, Rssm):
        without = with_samples(model, 0, continues)
        print_costs({"without disagreement": without, **models}, bundle, options.seconds)


def whole_episodes(
    policy: Policy, environment: Environment, first: int, count: int
) -> list[Episode]:
    """Episodes from starts that count up from the first."""
    builder, episodes = EpisodeBuilder(), []
    for step in collect(policy, environment, range(first, first + count)):
        if (episode := builder.add(step)) is not None:
            episodes.append(episode)
    return episodes


@torch.no_grad()
def predictions(model: WorldModel, episodes: list[Episode]) -> tuple[Array, Array]:
    """Disagreement and absolute error of the reward, (starts, H) each."""
    horizon, disagreements, errors = max(HORIZONS), [], []
    for episode in episodes:
        actions = torch.from_numpy(episode.action)
        for start, belief in enumerate(model.filtered(episode)):
            if start + horizon > len(episode):
                break
            imagined = model.imagine(belief, actions[None, start : start + horizon])
            if imagined.disagreement is None:
                raise SystemExit("the model has no disagreement: world_model.members is 1")
            truth = episode.reward[start : start + horizon]
            disagreements.append(imagined.disagreement[0].numpy())
            errors.append(np.abs(imagined.rewards[0].numpy() - truth))
    return np.array(disagreements, np.float64), np.array(errors, np.float64)


def correlations(disagreement: Array, error: Array) -> list[float]:
    """After each of `HORIZONS`, and over all steps; then the median error."""
    each = [spearmanr(disagreement[:, h - 1], error[:, h - 1]).statistic for h in HORIZONS]
    return [*each, spearmanr(disagreement, error, axis=None).statistic, float(np.median(error))]


def with_samples(model: Rssm, samples: int, predict_continue: bool) -> Rssm:
    """The same weights, with another number of samples for the disagreement."""
    settings = model.settings.model_copy(update={"disagreement_samples": samples})
    torch.manual_seed(0)
    copy = Rssm(model.signature, settings, predict_continue)
    weights = {n: v for n, v in model.state_dict().items() if n != "disagreement_noise"}
    copy.load_state_dict(weights, strict=False)
    return copy


class WholeTrajectories(Rssm):
    """A recurrent model whose disagreement is over trajectories, sampled from start to end.

    The noise is the same in every call and for each candidate. Continuations are left out.
    """

    def __init__(self, model: Rssm, horizon: int, predict_continue: bool) -> None:
        """Take over a model with its weights and its number of samples."""
        super().__init__(model.signature, model.settings, predict_continue)
        self.load_state_dict(model.state_dict())
        samples = model.settings.disagreement_samples
        torch.manual_seed(0)
        noise = torch.randn(samples + 1, horizon, 1, model.settings.stochastic_size)
        noise[0] = 0  # the expected trajectory goes along as the first
        self.register_buffer("trajectory_noise", noise)

    trajectory_noise: Tensor

    def imagine(self, belief: Tensor, actions: Tensor, goal: Tensor | None = None) -> Imagined:
        """See `WorldModel.imagine`; the reward is learned."""
        candidates, horizon = actions.shape[:2]
        features = belief.expand(len(self.trajectory_noise), candidates, -1)
        drive = self._drive(self._normalized_action(actions))
        steps = []
        for step in range(horizon):
            features, _ = self._prior_step(features, drive[:, step], self.trajectory_noise[:, step])
            steps.append(features)
        rewards = self._in_units(self.reward(torch.stack(steps))).squeeze(-1)  # (H, S + 1, N)
        sampled = rewards[:, 1:]
        spread = (sampled - sampled.mean(dim=1, keepdim=True)).square().mean(dim=1).sqrt()
        return Imagined(rewards[:, 0].T, None, spread.T)


def print_costs(models: Mapping[str, WorldModel], bundle: Bundle, seconds: float) -> None:
    """Time of `imagine` in onnxruntime, over a planner's candidates."""
    manifest = bundle.manifest
    about = {
        "model_kind": manifest.model_kind,
        "horizon": max(HORIZONS),
        "signature": manifest.signature,
        "planner": manifest.planner.model_copy(update={"horizon": max(HORIZONS)}),
    }
    belief = np.zeros(manifest.belief_size, np.float32)
    actions = np.zeros((CANDIDATES, max(HORIZONS), manifest.signature.actions), np.float32)
    cases: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for index, (name, model) in enumerate(models.items()):
            path = Path(folder) / str(index)
            BundleExporter(model, max(HORIZONS)).export(path, about)
            cases[name] = functools.partial(load_bundle(path).model.imagine, belief, actions)
        times = interleaved(cases, seconds)
    print()
    print_machine()
    title = f"imagine in onnxruntime, {CANDIDATES} candidates × {max(HORIZONS)} steps"
    print_table(title, times, next(iter(models)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--run", dest="run_folder", type=Path, required=True, help="folder of a run"
    )
    parser.add_argument(
        "--episodes", type=int, default=5, help="of each kind, planned and random (default: 5)"
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="to measure the costs (default: 20)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
