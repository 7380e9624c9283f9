"""Every setting of the project: typed, bounded and documented in one schema.

The YAML files in ``config/``, the ROS parameters of the nodes, the flags of ``planet-ros`` and
``docs/configuration.md`` all come from the classes below. A dotted name such as
``planner.horizon`` is the same setting everywhere.

Names carry their unit (``rate_hz``, ``stale_timeout_s``); everything else is SI or a plain number.
"""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

try:
    from pydantic import (
        BaseModel,
        ConfigDict,
        Field,
        ValidationError,
        field_validator,
        model_validator,
    )
    from pydantic.fields import FieldInfo
except ImportError as error:
    # Ubuntu 24.04's own python3-pydantic is 1.10, which lacks these names.
    raise ImportError(
        "planet_ros needs pydantic 2 or newer, in a virtual environment with system packages: "
        "pip install 'pydantic>=2'"
    ) from error

from planet_ros.errors import UserError
from planet_ros.files import write_whole

NODE_PARAMETERS_KEY = "ros__parameters"


class Section(BaseModel):
    """A group of settings: unknown names are refused, values cannot change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BridgeSettings(Section):
    """How `gym_bridge` runs a Gymnasium environment behind topics."""

    mode: Literal["lock_step", "real_time"] = Field(
        "lock_step",
        description="lock_step: as fast as commands arrive, one command for each observation, "
        "reproducible. real_time: at the environment's own rate, the last command is held.",
    )
    wait_for_learner: bool = Field(
        False,
        description="Start paused, and pause again wherever the learner fits its model (see "
        "training.update_every_steps), until ~/pause is called with false.",
    )
    command_timeout_s: float = Field(
        0.5,
        gt=0,
        le=3600,
        description="real_time: the safe command is applied once the last command is older than "
        "this. lock_step: how often to warn that no command has arrived.",
    )
    real_time_factor: float = Field(
        1.0,
        gt=0,
        le=100,
        description="real_time: simulated seconds for each second of the wall clock.",
    )
    safe_command: list[float] = Field(
        [],
        description="Command applied when commands are stale, one value for each action; empty: "
        "zeros, moved into the action's range.",
    )
    max_episodes: int = Field(
        0, ge=0, le=1_000_000, description="Stop after this many episodes; 0: never."
    )


class DataSettings(Section):
    """The store of episodes."""

    capacity_steps: int = Field(
        100_000,
        ge=1,
        le=100_000_000,
        description="Steps kept; past that the oldest episodes are deleted.",
    )
    capacity_bytes: int = Field(
        2_000_000_000,
        ge=1_000_000,
        le=10**13,
        description="Bytes of memory that episodes may take; past that the oldest are deleted. "
        "Images make up most of it: height × width × channels for each step.",
    )


class WorldModelSettings(Section):
    """The model that predicts what the environment does.

    Which kind it is, and what all kinds share; then the ensemble's own settings. Those of the
    recurrent state-space model are in the section rssm.
    """

    kind: Literal["ensemble", "rssm"] = Field(
        "ensemble",
        description="ensemble: networks that predict the next observation from this one, for "
        "observations that hold the whole state. rssm: PlaNet's recurrent state-space model, which "
        "remembers what an observation does not show.",
    )
    predict_continue: bool = Field(
        True,
        description="Learn the probability that the episode goes on. Turn off where the "
        "environment never terminates.",
    )
    members: int = Field(5, ge=1, le=64, description="Networks in the ensemble.")
    hidden_sizes: list[int] = Field(
        [64, 64], description="Units of each hidden layer, the same in every member."
    )
    activation: Literal["silu", "relu", "tanh", "elu"] = Field(
        "silu", description="Non-linearity after each hidden layer."
    )
    target: Literal["change", "state"] = Field(
        "change",
        description="change: predict the difference of successive observations. state: predict "
        "the next observation itself, as the notebook does.",
    )
    normalize: bool = Field(
        True,
        description="Scale observations, actions, changes and rewards to unit variance inside "
        "the model.",
    )
    head: Literal["deterministic", "gaussian"] = Field(
        "deterministic",
        description="deterministic: mean squared error. gaussian: predict a variance as well and "
        "minimise the negative log-likelihood (PETS); plans use the mean.",
    )

    @field_validator("hidden_sizes")
    @classmethod
    def _layers(cls, value: list[int]) -> list[int]:
        if not 1 <= len(value) <= 8 or not all(1 <= size <= 4096 for size in value):
            raise ValueError("expected 1 to 8 layers of 1 to 4096 units")
        return value


class RssmSettings(Section):
    """The recurrent state-space model, used where world_model.kind is rssm."""

    deterministic_size: int = Field(
        64, ge=1, le=4096, description="Units of the deterministic state, a GRU's."
    )
    stochastic_size: int = Field(
        8, ge=1, le=1024, description="Dimensions of the Gaussian stochastic latent."
    )
    hidden_size: int = Field(64, ge=1, le=4096, description="Units of the layers between.")
    activation: Literal["silu", "relu", "tanh", "elu"] = Field(
        "elu", description="Non-linearity of the layers between."
    )
    min_std: float = Field(
        0.1, gt=0, le=10, description="Least standard deviation of prior and posterior."
    )
    path: Literal["both", "stochastic", "deterministic"] = Field(
        "both",
        description="both: PlaNet's model. stochastic, deterministic: its ablations, a state-space "
        "model without a deterministic state, and a recurrent network whose latent has no noise.",
    )
    observation_std: float = Field(
        0.1,
        gt=0,
        le=100,
        description="Standard deviation of the observation's likelihood, in units of the data's "
        "own: smaller weighs reconstruction more against the KL divergence.",
    )
    reward_std: float = Field(0.1, gt=0, le=100, description="The same of the reward's likelihood.")
    image_network: Literal["dense", "convolutional"] = Field(
        "dense",
        description="dense: a hidden layer each to encode and to decode an image, for small ones. "
        "convolutional: PlaNet's networks for images of 64 × 64 pixels.",
    )
    image_hidden_size: int = Field(
        64, ge=1, le=65_536, description="dense: units of the hidden layers of images."
    )
    image_std: float = Field(
        6.0,
        gt=0,
        le=1000,
        description="Standard deviation of each pixel's likelihood, in units of the spread of all "
        "pixels around the mean image: smaller weighs the picture more against the KL divergence.",
    )
    image_bits: int = Field(
        8,
        ge=1,
        le=8,
        description="Bits of each colour that the model sees. PlaNet takes 5; with less than 8, "
        "noise of one step is added while it learns (dequantisation).",
    )
    kl_weight: float = Field(
        0.1, ge=0, le=1000, description="Weight of the KL divergence of posterior and prior."
    )
    free_nats: float = Field(
        0.0, ge=0, le=100, description="KL divergence that costs nothing, in nats a step."
    )
    kl_balance: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the KL divergence's gradient that moves the prior; 0.5: the plain "
        "divergence.",
    )
    overshooting_distance: int = Field(
        0,
        ge=0,
        le=1000,
        description="Steps of latent overshooting, which also fits predictions that far ahead; 0 "
        "or 1: none.",
    )
    overshooting_weight: float = Field(
        1.0, ge=0, le=1000, description="Weight of latent overshooting, shared by its distances."
    )
    disagreement_samples: int = Field(
        0,
        ge=0,
        le=100,
        description="Latents whose spread of rewards is the disagreement; 0: none, which is "
        "fastest.",
    )


class TrainingSettings(Section):
    """How experience is collected and the model is fitted to it."""

    output: str = Field(
        "runs/latest",
        min_length=1,
        description="Folder of the run: bundle, checkpoint, episodes, metrics and plots.",
    )
    resume: bool = Field(
        False, description="Continue the run found in the output folder, instead of refusing it."
    )
    steps: int = Field(
        1400, ge=1, le=1_000_000_000, description="Environment steps to collect in all."
    )
    random_steps: int = Field(
        200,
        ge=1,
        le=1_000_000_000,
        description="Environment steps with uniformly random actions, before the first fit.",
    )
    update_every_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Fit the model after this many environment steps; 0: after each episode.",
    )
    random_noise_beta: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Exponent of the 1/f spectrum of the random actions: 0 draws each anew, 2 "
        "pushes for longer in one direction, which shows more of a heavy system.",
    )
    exploration_noise: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Standard deviation of the noise on planned actions while experience is "
        "collected, in halves of the range. A controller adds it only with controller.explore.",
    )
    updates: int = Field(
        400, ge=1, le=1_000_000, description="Gradient updates at each fit of the model."
    )
    batch_size: int = Field(
        64, ge=1, le=100_000, description="Sequences in a batch, for each member of the ensemble."
    )
    sequence_length: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Steps of a sampled sequence; a sequence never crosses an episode's end.",
    )
    loss_steps: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Steps of each sequence that the loss covers, from its first: 1 is the "
        "one-step loss; more feed predictions back into the model (multi-step loss).",
    )
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Step size of Adam.")
    adam_epsilon: float = Field(
        1e-8,
        gt=0,
        le=1,
        description="Added to Adam's denominator: larger makes small gradients count less.",
    )
    weight_decay: float = Field(
        0.0, ge=0, le=1, description="Decoupled weight decay (AdamW); 0: plain Adam."
    )
    weight_averaging: float = Field(
        0.98,
        ge=0,
        lt=1,
        description="Decay of the running average of the weights, over updates, which acts and is "
        "exported; lower for the first updates. 0: the newest weights themselves.",
    )
    gradient_clip: float = Field(
        0.0, ge=0, le=1e6, description="Largest norm of the gradient; 0: not clipped."
    )
    evaluation_episodes: int = Field(
        5,
        ge=0,
        le=1000,
        description="Episodes on held-out starts after training, whose returns the bundle's "
        "manifest reports; 0: none.",
    )
    threads: int = Field(
        1, ge=1, le=256, description="Threads of torch; small models are fastest with one."
    )
    device: str = Field(
        "cpu",
        description="Torch device that fits the model, such as cpu or cuda. On any but cpu, "
        "`planet-ros train` plans there too, while it learns.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="bfloat16: mixed precision, products of matrices and convolutions in bfloat16, "
        "all else in float32; for processors that are fast at it, such as GPUs.",
    )
    command_period_s: float = Field(
        0.0,
        ge=0,
        le=60,
        description="Seconds between two commands, written to the bundle; 0: taken from the "
        "environment or, in the trainer node, from the stamps of the steps.",
    )
    controller_timeout_s: float = Field(
        20.0,
        gt=0,
        le=3600,
        description="Trainer node: how long to wait for the controller to take over a new "
        "bundle before the simulation goes on without it.",
    )

    @model_validator(mode="after")
    def _steps_fit(self) -> TrainingSettings:
        if self.loss_steps > self.sequence_length:
            raise ValueError(
                f"training.loss_steps: found {self.loss_steps}, expected at most "
                f"training.sequence_length = {self.sequence_length}"
            )
        return self

    def pauses_at(self, steps: int, newest: int, episode_ended: bool) -> bool:
        """Whether collecting stops here, for the model to be fitted.

        The learner and a bridge that waits for it must agree on this.

        Args:
            steps: Environment steps taken in all.
            newest: Those of them that the newest decision took.
            episode_ended: Whether it was the last one of an episode.
        """
        if self.update_every_steps:
            every = self.update_every_steps
            return steps // every > (steps - newest) // every
        return episode_ended


class PlannerSettings(Section):
    """The cross-entropy method that chooses actions."""

    kind: Literal["icem", "cem"] = Field(
        "icem",
        description="icem: sample-efficient CEM with coloured noise and a warm start (Pinneri et "
        "al. 2020). cem: the plain method of PlaNet and of the notebook.",
    )
    horizon: int = Field(20, ge=1, le=1000, description="Steps to plan ahead.")
    candidates: int = Field(
        40, ge=2, le=1_000_000, description="Action sequences in the first iteration."
    )
    elites: int = Field(
        8, ge=1, le=1_000_000, description="Best sequences that the distribution is refitted to."
    )
    iterations: int = Field(3, ge=1, le=1000, description="Rounds of sampling and refitting.")
    discount: float = Field(
        0.99, gt=0, le=1, description="Weight of a reward relative to the one a step earlier."
    )
    disagreement_penalty: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="Reward taken off for each unit of disagreement in the ensemble: larger is "
        "more cautious.",
    )
    noise_beta: float = Field(
        2.0, ge=0, le=10, description="icem: exponent of the noise's 1/f spectrum; 0: white."
    )
    population_decay: float = Field(
        1.25, ge=1, le=100, description="icem: factor by which each iteration samples fewer."
    )
    keep_elites_fraction: float = Field(
        0.3, ge=0, le=1, description="icem: share of the elites carried to the next iteration."
    )
    momentum: float = Field(
        0.1, ge=0, lt=1, description="icem: weight of the old mean and deviation in a refit."
    )
    initial_std: float = Field(
        0.5, gt=0, le=10, description="icem: first standard deviation, in halves of the range."
    )
    execute: Literal["best", "mean"] = Field(
        "best",
        description="icem: send the best sequence, or the mean of the elites, which is less "
        "prone to exploit errors of the model.",
    )

    @model_validator(mode="after")
    def _elites_fit(self) -> PlannerSettings:
        if self.elites > self.candidates:
            raise ValueError(
                f"planner.elites: found {self.elites}, expected at most "
                f"planner.candidates = {self.candidates}"
            )
        return self


class ControllerSettings(Section):
    """When the controller node acts, and what it does when something is wrong."""

    trigger: Literal["timer", "observation"] = Field(
        "timer",
        description="timer: constant rate on the steady clock (robots). observation: one command "
        "for each observation (lock-step simulation).",
    )
    rate_hz: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="Commands per second of the timer; 0: the rate the bundle was learned at.",
    )
    stale_timeout_s: float = Field(
        0.25,
        gt=0,
        le=3600,
        description="An observation older than this is stale: the safe command is sent.",
    )
    max_missed: int = Field(
        3,
        ge=0,
        le=1000,
        description="Control periods for which the last plan may go on giving commands while newer "
        "ones are late or fail; after that the safe command is sent.",
    )
    explore: bool = Field(
        False,
        description="Add training.exploration_noise to planned commands: for learning in "
        "simulation, never for a robot that just has to work.",
    )
    safe_command: list[float] = Field(
        [],
        description="Command sent when nothing better is known, one value for each action; "
        "empty: zeros, moved into the action's range.",
    )


class Settings(Section):
    """Settings of planet_ros."""

    env_id: str = Field("Pendulum-v1", min_length=1, description="Gymnasium id of the environment.")
    env_kwargs: str = Field(
        "{}",
        description='Keyword arguments of the environment, as a JSON object, such as {"g": 9.81}.',
    )
    env_modules: list[str] = Field(
        [],
        description="Python modules to import first, so that they register environments of your "
        "own.",
    )
    env_wrappers: list[str] = Field(
        [],
        description="Wrappers around the environment, inside first: module:Class, optionally "
        "followed by keyword arguments, such as gymnasium.wrappers:TimeLimit "
        '{"max_episode_steps": 100}.',
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**31 - 1,
        description="Seed of everything random; episode i starts from reset(seed=seed+i).",
    )
    model: str = Field(
        "",
        description="Folder of the bundle that the controller loads; empty: wait for one that a "
        "learner announces on the topic model.",
    )
    bridge: BridgeSettings = BridgeSettings()
    data: DataSettings = DataSettings()
    world_model: WorldModelSettings = WorldModelSettings()
    rssm: RssmSettings = RssmSettings()
    training: TrainingSettings = TrainingSettings()
    planner: PlannerSettings = PlannerSettings()
    controller: ControllerSettings = ControllerSettings()

    @field_validator("env_kwargs")
    @classmethod
    def _json_object(cls, value: str) -> str:
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"expected a JSON object: {error}") from None
        if not isinstance(parsed, dict):
            raise ValueError("expected a JSON object such as {}")
        return value


@dataclass(frozen=True)
class Setting:
    """One setting of the schema, for whoever declares, prints or documents it.

    Attributes:
        name: Dotted name, such as ``planner.horizon``.
        type: ``bool``, ``int``, ``float``, ``str`` or a list of one of these.
        default: Its default.
        description: One sentence or two.
        choices: The values a string may have; empty: any.
        bounds: Lower and upper bound, both None where there is none.
        exclusive: Whether the lower bound, and the upper, is itself excluded.
    """

    name: str
    type: Any
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)
    exclusive: tuple[bool, bool] = (False, False)

    @property
    def range_text(self) -> str:
        """The allowed values, for a person."""
        if self.choices:
            return " or ".join(self.choices)
        low, high = self.bounds
        if low is None and high is None:
            return ""
        left = "" if low is None else f"{low:g} {'<' if self.exclusive[0] else '≤'} "
        right = "" if high is None else f" {'<' if self.exclusive[1] else '≤'} {high:g}"
        return f"{left}value{right}"


def schema(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Setting]:
    """Yield every setting, in the order of the classes above."""
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from schema(annotation, f"{prefix}{name}.")
        else:
            yield _setting(prefix + name, field)


def _setting(name: str, field: FieldInfo) -> Setting:
    low = high = None
    open_low = open_high = False
    for item in field.metadata:
        if getattr(item, "ge", None) is not None:
            low = item.ge
        if getattr(item, "gt", None) is not None:
            low, open_low = item.gt, True
        if getattr(item, "le", None) is not None:
            high = item.le
        if getattr(item, "lt", None) is not None:
            high, open_high = item.lt, True
    literal = get_origin(field.annotation) is Literal
    return Setting(
        name=name,
        type=str if literal else field.annotation,
        default=field.default,
        description=field.description or "",
        choices=get_args(field.annotation) if literal else (),
        bounds=(low, high),
        exclusive=(open_low, open_high),
    )


def settings_from(values: Mapping[str, Any], source: str = "settings") -> Settings:
    """Check nested or dotted values against the schema.

    Args:
        values: ``{"planner": {"horizon": 12}}`` or ``{"planner.horizon": 12}``.
        source: Where the values come from, for the error.

    Raises:
        UserError: A name is unknown (the closest valid one is given), or a value has the wrong
            type or lies out of its bounds.
    """
    flat = dict(flatten(values))
    known = {setting.name: setting for setting in schema()}
    problems = []
    for name in flat:
        if name not in known:
            problems.append(f"{name}: unknown setting{closest(name, known)}")
    for name, value in flat.items():
        # Lists stay lists and integers may serve as floats, but "3" is not 3 and 1 is not true.
        if name in known and isinstance(value, bool) != (known[name].type is bool):
            problems.append(
                f"{name}: found {value!r} ({type(value).__name__}), expected "
                f"{type_name(known[name].type)}"
            )
    if not problems:
        try:
            return Settings.model_validate(nest(flat), strict=True)
        except ValidationError as error:
            problems = [_explain(item, known) for item in error.errors()]
    raise UserError(f"{source}: " + "; ".join(problems))


def _explain(item: Any, known: Mapping[str, Setting]) -> str:
    name = ".".join(str(part) for part in item["loc"] if not isinstance(part, int))
    message = item["msg"].removeprefix("Value error, ")
    if name not in known:  # a rule between two settings names both itself
        return message
    setting = known[name]
    if item["type"] == "value_error":  # from a validator above, which says what it expected
        return f"{name}: found {item['input']!r}, {message}"
    allowed = f" ({setting.range_text})" if setting.range_text else ""
    return f"{name}: found {item['input']!r}, expected {type_name(setting.type)}{allowed}"


def closest(name: str, names: Mapping[str, Any]) -> str:
    """`` (did you mean …?)`` for the known name nearest to `name`; empty if none is near."""
    last = name.rpartition(".")[2]
    same = [known for known in names if known.rpartition(".")[2] == last]
    # The right word in the wrong section is nearer than a similar word in the right one.
    match = difflib.get_close_matches(name, same or names, n=1, cutoff=0.0 if same else 0.5)
    return f" (did you mean {match[0]}?)" if match else ""


def type_name(annotation: Any) -> str:
    """A setting's type in words."""
    if get_origin(annotation) is list:
        return f"a list of {get_args(annotation)[0].__name__}"
    return {bool: "true or false", int: "an integer", float: "a number", str: "a string"}[
        annotation
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values of a nested mapping."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `flatten`."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split(".")
        level = nested
        for section in sections:
            level = level.setdefault(section, {})
        level[last] = value
    return nested


def load_settings(path: Path | str | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read a ROS parameter file, then apply overrides.

    Args:
        path: YAML file with ``/**: ros__parameters:`` on top; None: defaults alone.
        overrides: Dotted names and values that win over the file.

    Raises:
        UserError: The file is missing, is not such a file, or a setting in it is wrong.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = dict(flatten(_read_parameter_file(Path(path))))
    values.update(overrides or {})
    return settings_from(values, source=str(path) if path is not None else "settings")


def _read_parameter_file(path: Path) -> dict[str, Any]:
    import yaml  # not needed on the robot, whose parameters ROS reads

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not YAML: {error}") from None
    expected = f"{path}: expected a ROS parameter file, '/**:' with '{NODE_PARAMETERS_KEY}:' in it"
    if not isinstance(document, dict):
        raise UserError(f"{expected}, found {type(document).__name__}")
    values: dict[str, Any] = {}
    for node, content in document.items():
        if not isinstance(content, dict) or set(content) != {NODE_PARAMETERS_KEY}:
            raise UserError(f"{expected}, found {content!r} under {node!r}")
        parameters = content[NODE_PARAMETERS_KEY]
        if not isinstance(parameters, dict):
            raise UserError(f"{expected}, found {parameters!r} under {node}.{NODE_PARAMETERS_KEY}")
        # ROS's own parameters (use_sim_time) are the nodes' affair, not the schema's.
        values.update(
            (name, value)
            for name, value in flatten(parameters)
            if name.partition(".")[0] not in ROS_OWN_PARAMETERS
        )
    return values


ROS_OWN_PARAMETERS = ("use_sim_time", "qos_overrides", "start_type_description_service")
"""Names (or first parts of names) that rclpy declares by itself."""


def save_settings(settings: Settings, path: Path) -> None:
    """Write every setting as a ROS parameter file that `load_settings` and nodes can read."""
    import yaml

    values = settings.model_dump()
    # To continue is said anew each time: a file must not make another run do so in silence.
    values["training"]["resume"] = False
    document = {"/**": {NODE_PARAMETERS_KEY: values}}
    write_whole(path, yaml.safe_dump(document, sort_keys=False).encode())


def reference_markdown() -> str:
    """The reference page of all settings, as ``docs/configuration.md`` holds it."""
    lines = [
        "# Configuration",
        "",
        "Every setting of planet_ros. The name is the same in a parameter file, as a ROS "
        "parameter, and after",
        "`--set` on the command line: `planet-ros train --set planner.horizon=12`.",
        "This page is made by `planet-ros config --markdown`.",
    ]
    section = None
    for setting in schema():
        head = setting.name.rpartition(".")[0]
        if head != section:
            section = head
            model = Settings.model_fields[head].annotation if head else Settings
            lines += ["", f"## {head or 'General'}", "", inspect.cleandoc(model.__doc__ or ""), ""]
            lines += [
                "| name | type | default | allowed | meaning |",
                "| --- | --- | --- | --- | --- |",
            ]
        allowed = setting.range_text.replace("|", "\\|")
        default = json.dumps(setting.default)
        description = setting.description.replace("|", "\\|")
        kind = type_name(setting.type).removeprefix("an ").removeprefix("a ")
        lines.append(f"| `{setting.name}` | {kind} | `{default}` | {allowed} | {description} |")
    return "\n".join(lines) + "\n"
