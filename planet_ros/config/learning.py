"""The sections of settings that learning alone needs: the models, and how they are fitted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from .sections import Section

MAX_STEPS = 1_000_000_000
"""Steps that a run takes at most."""

MAX_ENVIRONMENTS = 256


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


class CollectionSettings(Section):
    """How long episodes are while learning, and when the model is fitted."""

    episode_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Decisions after which an episode is cut while experience is collected, so "
        "that more starts are seen in as many steps; 0: as many as the environment allows. "
        "Evaluations take whole episodes.",
    )

    update_every_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Fit the model after this many environment steps; 0: after each episode.",
    )

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


class ExplorationSettings(Section):
    """How much is tried out."""

    exploration_noise: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Standard deviation of the noise on planned actions while experience is "
        "collected, in halves of the range. A controller adds it only with controller.explore.",
    )


class TrainingSettings(CollectionSettings, ExplorationSettings):
    """How experience is collected and the model is fitted to it."""

    output: str = Field(
        "runs/latest",
        min_length=1,
        description="Folder of the run: bundle, checkpoint, episodes, metrics and plots.",
    )
    resume: bool = Field(
        False, description="Continue the run found in the output folder, instead of refusing it."
    )
    accept_changes: bool = Field(
        False,
        description="Continue a run although settings that what is learned depends on, but for "
        "training.steps, differ from those that it was begun with; otherwise they are named, and "
        "it is refused. On the command line what --set says is meant.",
    )
    steps: int = Field(1400, ge=1, le=MAX_STEPS, description="Environment steps to collect in all.")
    environments: int = Field(
        1,
        ge=1,
        le=MAX_ENVIRONMENTS,
        description="`planet-ros train` in an environment: copies that experience is collected in "
        "side by side. Their episodes begin together, and one that is over waits for the others; "
        "steps are those of all copies.",
    )
    vector: Literal["sync", "async"] = Field(
        "sync",
        description="Of several environments. sync: stepped one after another, in one process. "
        "async: at once, each in a process of its own, for steps of more than about a "
        "millisecond.",
    )
    random_steps: int = Field(
        200,
        ge=1,
        le=MAX_STEPS,
        description="Environment steps with uniformly random actions, before the first fit.",
    )
    random_noise_beta: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Exponent of the 1/f spectrum of the random actions: 0 draws each anew, 2 "
        "pushes for longer in one direction, which shows more of a heavy system.",
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
        description="Steps of a sampled sequence; a sequence never crosses an episode's end, and "
        "an episode that is shorter is padded.",
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
    tensorboard: bool = Field(
        False,
        description="Write the metrics for TensorBoard too, into the run's folder tensorboard; it "
        "takes the package tensorboard (pip install '.[tensorboard]').",
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
        description="Seconds between two commands, written to the bundle; 0: what the environment "
        "says.",
    )
    controller_timeout_s: float = Field(
        20.0,
        gt=0,
        le=3600,
        description="Trainer node: how long to wait for the controller to take over a new "
        "bundle before the simulation goes on without it.",
    )
    publish_bundle: bool = Field(
        False,
        description="Trainer node: publish each bundle itself on the topic model_bundle, for a "
        "controller on another machine (controller.accept_bundles), beside its path on model.",
    )
    pause_service: str = Field(
        "gym_bridge/pause",
        max_length=255,
        pattern=r"^((~?/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*)?$",
        description="Trainer node: service that lets a waiting simulation go on; empty: nobody "
        "waits, as on a robot.",
    )
    collect: Literal["plan", "random", "listen"] = Field(
        "plan",
        description="Trainer node: who acts. plan: random commands while there is no model, then "
        "the controller. random: random commands all the time. listen: the trainer sends no "
        "command, ever, and learns from whoever drives.",
    )
    lock_step: bool = Field(
        False,
        description="Trainer node with an interface: a simulation waits for a command after each "
        "step, and stamps say which messages belong together. false: a robot, a step every "
        "period.",
    )

    @model_validator(mode="after")
    def _steps_fit(self) -> TrainingSettings:
        if self.loss_steps > self.sequence_length:
            raise ValueError(
                f"training.loss_steps: found {self.loss_steps}, expected at most "
                f"training.sequence_length = {self.sequence_length}"
            )
        return self


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


class OfflineSettings(Section):
    """Learning from experience that is there already (planet-ros train --data)."""

    data: list[str] = Field(
        [],
        max_length=1000,
        description="Folders of episodes to learn from, as of planet-ros import, or of runs; "
        "empty: the environment, or the robot, is learned as it is met.",
    )
    held_out: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Share of the episodes, whole ones and at least one, that is not learned from: "
        "how well they are predicted says when to stop, and which model is kept.",
    )
    rounds: int = Field(
        50, ge=1, le=100_000, description="Fits at most, of training.updates updates each."
    )
    patience: int = Field(
        8,
        ge=1,
        le=100_000,
        description="Fits in a row that predict the held-out episodes no better than the best one "
        "did, after which learning stops.",
    )
    choose_penalty: bool = Field(
        True,
        description="Where planner.disagreement_penalty is 0, give the bundle the least one by "
        "which nine of ten predictions of held-out returns do not promise too much. What is "
        "learned with an environment or a robot afterwards goes without it.",
    )
