"""The sections of settings, but those of learning: every field typed, bounded and documented.

A field that some program needs by itself stands in a small class of its own, from which the whole
section derives: so it is defined once. ``learning.py`` holds the other sections.

Names carry their unit (``rate_hz``, ``stale_timeout_s``); everything else is SI or a plain number.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from planet_ros.planning import KINDS, AnyPlannerSettings, IcemSettings

MAX_NAME = 100
"""Characters of a name, with its unit, at most."""


class Section(BaseModel):
    """A group of settings: unknown names are refused, values cannot change later."""

    # Validators are made when they are first needed: a node needs its own, and starts sooner.
    # Names may begin with model_.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        defer_build=True,
        protected_namespaces=(),
    )


class EnvironmentSettings(Section):
    """Which Gymnasium environment."""

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
    env_action_names: list[str] = Field(
        [],
        description="Name and unit of each number of the action, in its order, such as torque "
        "[N m]; empty: what the environment knows.",
    )
    env_observation_names: list[str] = Field(
        [],
        description="The same for each number of the observation vector, such as angular velocity "
        "[rad/s].",
    )

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

    @field_validator("env_action_names", "env_observation_names")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        if not all(name.strip() and len(name) <= MAX_NAME for name in value):
            raise ValueError(f"expected names of 1 to {MAX_NAME} characters, such as torque [N m]")
        return value


class SeedSettings(Section):
    """Where random numbers start."""

    seed: int = Field(
        0,
        ge=0,
        le=2**31 - 1,
        description="Seed of everything random; episode i starts from reset(seed=seed+i).",
    )


class BundleSettings(Section):
    """Which model is acted with."""

    model: str = Field(
        "",
        description="Folder of the bundle that the controller loads; empty: wait for one that a "
        "learner announces on the topic model.",
    )


class InterfaceSettings(Section):
    """What a robot is, where no Gymnasium environment says it."""

    interface: str = Field(
        "",
        max_length=4096,
        description="Document that says what the robot is to a model (docs/interface.md): a path, "
        "or the name of one in the installed config/interfaces/. Trainer: it learns from these "
        "topics, without an environment. Controller: what the robot allows; a bundle that wants "
        "more is refused. Empty: what the environment, or the bundle, says.",
    )


MAX_ROBOTS = 64
_NAMESPACE = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


class RobotsSettings(InterfaceSettings):
    """Which robots are learned from, all of one interface."""

    robots: list[str] = Field(
        [],
        max_length=MAX_ROBOTS,
        description="Trainer with an interface: namespaces of robots to learn one model from, such "
        "as robot1, robot2, each with all the topics that the interface names; empty: one robot, "
        "in the trainer's own namespace.",
    )

    @field_validator("robots")
    @classmethod
    def _namespaces(cls, value: list[str]) -> list[str]:
        for name in value:
            if len(name) > MAX_NAME or "__" in name or not _NAMESPACE.fullmatch(name):
                raise ValueError(
                    f"expected namespaces such as robot1 or cell/robot1, of at most {MAX_NAME} "
                    f"characters, and not {name[:MAX_NAME]!r}"
                )
        if len({name.lstrip("/") for name in value}) < len(value):
            raise ValueError("expected namespaces that differ from one another")
        return value

    @model_validator(mode="after")
    def _robots_have_an_interface(self) -> RobotsSettings:
        if self.robots and not self.interface:
            raise ValueError(
                f"robots: found {self.robots} without interface, expected one: it names the topics "
                "that each of them has"
            )
        return self


class PacingSettings(Section):
    """How a simulator behind topics shares time with whoever commands it."""

    mode: Literal["lock_step", "real_time"] = Field(
        "lock_step",
        description="lock_step: as fast as commands arrive, one command for each observation, "
        "reproducible. real_time: at its own rate, the last command is held.",
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


class BridgeSettings(PacingSettings):
    """How `gym_bridge` runs a Gymnasium environment behind topics."""

    wait_for_learner: bool = Field(
        False,
        description="Start paused, and pause again wherever the learner fits its model (see "
        "training.update_every_steps), until ~/pause is called with false.",
    )
    safe_command: list[float] = Field(
        [],
        description="Command applied when commands are stale, one value for each action; empty: "
        "zeros, moved into the action's range.",
    )
    max_episodes: int = Field(
        0, ge=0, le=1_000_000, description="Stop after this many episodes; 0: never."
    )


class RobotSettings(PacingSettings):
    """How the node `robot` simulates a robot that is nothing but topics to all others."""

    name: Literal["pendulum", "base", "arm"] = Field(
        "pendulum", description="Which robot; docs/robots.md says what each publishes and takes."
    )
    start_paused: bool = Field(False, description="Wait until ~/pause is called with false.")
    pause_every_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Pause after so many control periods, for a learner that fits its model, until "
        "~/pause is called with false; 0: never.",
    )
    episode_s: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="Simulated seconds after which it starts anew from a random state; its stamps "
        "then jump by a second. 0: never.",
    )
    extra_delay_periods: int = Field(
        0,
        ge=0,
        le=100,
        description="Control periods until a command acts, beyond those that the robot has itself.",
    )
    scramble_joints: bool = Field(
        True,
        description="Joint states list the joints in a random order, beside others that do not "
        "matter.",
    )
    joint_velocity: bool = Field(True, description="Joint states have velocities.")
    noise: float = Field(
        1.0, ge=0, le=100, description="Factor on the noise of odometry and IMU; 0: none."
    )
    target: Literal["random", "circle"] = Field(
        "random",
        description="arm: the target rests in a random place, or runs on a random circle.",
    )
    target_every_s: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="arm, random: simulated seconds until the target is in another place; 0: when "
        "the simulation starts anew. base: until it is sent elsewhere, by goal_pose; 0: by nobody.",
    )
    target_speed_m_s: float = Field(
        0.2, ge=0, le=2, description="arm, circle: speed of the target."
    )
    target_radius_m: float = Field(
        0.06,
        gt=0,
        le=0.07,
        description="arm, circle: its radius; all of a larger one cannot be reached.",
    )


class PlannerSettings(Section):
    """The cross-entropy method that chooses actions.

    In a bundle's manifest they are part of the model: a controller plans with those.
    """

    kind: Literal["icem", "cem"] = Field(
        "icem",
        description="icem: sample-efficient CEM with coloured noise and a warm start (Pinneri et "
        "al. 2020). cem: the plain method of PlaNet and of the notebook.",
    )
    horizon: int = Field(IcemSettings.horizon, ge=1, le=1000, description="Steps to plan ahead.")
    candidates: int = Field(
        IcemSettings.candidates,
        ge=2,
        le=1_000_000,
        description="Action sequences in the first iteration.",
    )
    elites: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Best sequences that the distribution is refitted to; 0: a fifth of the "
        "candidates, at least one.",
    )
    iterations: int = Field(
        IcemSettings.iterations, ge=1, le=1000, description="Rounds of sampling and refitting."
    )
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
        IcemSettings.noise_beta,
        ge=0,
        le=10,
        description="icem: exponent of the noise's 1/f spectrum; 0: white.",
    )
    population_decay: float = Field(
        IcemSettings.population_decay,
        ge=1,
        le=100,
        description="icem: factor by which each iteration samples fewer.",
    )
    keep_elites_fraction: float = Field(
        IcemSettings.keep_elites_fraction,
        ge=0,
        le=1,
        description="icem: share of the elites carried to the next iteration.",
    )
    momentum: float = Field(
        IcemSettings.momentum,
        ge=0,
        lt=1,
        description="icem: weight of the old mean and deviation in a refit.",
    )
    initial_std: float = Field(
        IcemSettings.initial_std,
        gt=0,
        le=10,
        description="icem: first standard deviation, in halves of the range.",
    )
    execute: Literal["best", "mean"] = Field(
        IcemSettings.execute,
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

    def own(self) -> AnyPlannerSettings:
        """What the planner of this kind is made of, see `planet_ros.planning.make_planner`."""
        made = KINDS[self.kind]
        names = [field.name for field in dataclasses.fields(made)]
        elites = self.elites or max(1, round(self.candidates / 5))
        return made(**{**{name: getattr(self, name) for name in names}, "elites": elites})


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
    realtime_priority: int = Field(
        0,
        ge=0,
        le=99,
        description="Linux's real-time priority (SCHED_FIFO) while the controller is active, so "
        "that nothing with less keeps it from being in time on a busy machine; 0: none. Where it "
        "is not allowed, a warning says how to allow it. Give it less than the robot's drivers.",
    )
    explore: bool = Field(
        False,
        description="Add training.exploration_noise to planned commands: for learning in "
        "simulation, never for a robot that just has to work.",
    )
    model_folders: list[str] = Field(
        [],
        max_length=64,
        description="Bundles that are named by their path, on the topic model or by the parameter "
        "model, are loaded from these folders, and those within, alone; empty: from any folder on "
        "this machine.",
    )
    accept_bundles: bool = Field(
        False,
        description="Take whole bundles from the topic model_bundle, as of a learner on another "
        "machine (training.publish_bundle), in place of paths from the topic model.",
    )
    bundle_folder: str = Field(
        "",
        max_length=4096,
        description="Where accepted bundles are kept, of this controller alone; empty: in "
        "planet_ros/bundles of ~/.ros (or $ROS_HOME), by the name of the node.",
    )
    max_bundle_mb: float = Field(
        100.0, gt=0, le=2000, description="Size of an accepted bundle at most, in 10⁶ bytes."
    )
    max_bundles: int = Field(
        5, ge=1, le=1000, description="Accepted bundles that are kept; then the oldest goes."
    )
    safe_command: list[float] = Field(
        [],
        description="Command sent when nothing better is known, one value for each action; "
        "empty: zeros, moved into the action's range.",
    )

    @field_validator("model_folders")
    @classmethod
    def _folders(cls, value: list[str]) -> list[str]:
        if not all(folder.strip() for folder in value):
            raise ValueError("expected folders such as /home/robot/models, and none that is empty")
        return value
