"""The whole configuration as typed, frozen values, checked before anything is spent.

The files under ``cfg/`` hold the defaults; the classes here say what is allowed. They know
nothing of Hydra: `rewardsmith.config` reads the files and hands a plain dict to `check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from rewardsmith.errors import ConfigurationError

FINAL_TRAININGS = 500
"""Number of the first training for the result; the search's own are numbered from 0."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class FieldSettings(_Settings):
    """One named slice of a transition, as a task's YAML declares it.

    Attributes:
        source: where it is read from: ``observation[0:3]``, ``desired_goal``, ``info.x_position``,
            ``qpos[0:2]``, ``qvel``, ``body.torso`` (world position) or ``site.tip``.
        meaning: one line for the prompt.
        unit: of the delivered numbers.
    """

    source: str
    meaning: str
    unit: str = ""


BUDGET = ("candidates", "iterations", "seeds", "races")
"""Settings of ``experiment`` that a task may have defaults of its own for."""


def _known_keys(values: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    for key in values:
        if key not in known:
            raise ValueError(f"should have no key {key!r}; known are {', '.join(known)}")
    return values


EnvironmentField = Literal["environment_reward", "environment_success"]


class SuccessRule(_Settings):
    """One bound of ``env.success_when``.

    Attributes:
        source: a number, written like the source of a field; of several numbers the Euclidean
            length counts.
        minus: subtracted first, number by number; makes a distance of two positions.
        at: when it must hold: at the ``end`` of the episode, ``always`` or ``ever`` (once).
        above: smallest value that counts.
        below: largest value that counts.
    """

    source: str
    minus: str | None = None
    at: Literal["end", "always", "ever"] = "end"
    above: FiniteFloat | None = None
    below: FiniteFloat | None = None

    @model_validator(mode="after")
    def _bounded(self) -> SuccessRule:
        if self.above is None and self.below is None:
            raise ValueError("should have a bound: above, below or both")
        if self.above is not None and self.below is not None and self.above > self.below:
            raise ValueError("should have above at most as large as below, or nothing succeeds")
        return self


class EnvSettings(_Settings):
    """``env``: the task.

    Attributes:
        name: folder of its runs.
        id: of Gymnasium.
        description: what is wanted.
        success: in words; None if only the environment knows.
        success_when: rules that decide on success, instead of the environment; all must hold.
        start_state: of the Fetch v3 ids.
        max_episode_steps: None leaves it to the environment.
        kwargs: of ``gymnasium.make``.
        fields: named slices of a transition.
        baselines: rewards to compare with, by name: the source of a reward function,
            ``environment`` (the environment's own reward) or ``success`` (1 at every step at which
            the task is solved, else 0). No language model ever sees them.
        environment_fields: fields that show what the environment says; of baselines alone.
        budget: what ``experiment`` takes as its defaults for this task, e.g. ``candidates``.
        tuned: measured values for ``training=population``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=60)
    id: str = Field(min_length=1)
    description: str = Field(min_length=1)
    success: str | None = None
    success_when: tuple[SuccessRule, ...] | None = None
    start_state: Literal["documented", "as_released"] | None = None
    max_episode_steps: PositiveInt | None = None
    kwargs: dict[str, Any] = {}
    fields: dict[str, FieldSettings] | None = None
    baselines: dict[str, str] = {}
    environment_fields: tuple[EnvironmentField, ...] = ()
    budget: dict[str, NonNegativeInt] = {}
    tuned: dict[str, Any] = {}

    @property
    def short_id(self) -> str:
        """The id without the module that registers it."""
        return self.id.rpartition(":")[2]

    @field_validator("name", mode="before")
    @classmethod
    def _folder_name(cls, name: Any) -> Any:
        """An id may serve as a name: ``ALE/Pong-v5`` becomes ``ALE-Pong-v5``."""
        return re.sub(r"[/:]+", "-", name) if isinstance(name, str) else name

    @field_validator("success_when", mode="before")
    @classmethod
    def _one_or_more(cls, rules: Any) -> Any:
        """A single rule need not be a list."""
        if isinstance(rules, dict):
            return [rules]
        if isinstance(rules, (list, tuple)) and not rules:
            raise ValueError("should have at least one rule; null leaves it to the environment")
        return rules

    @field_validator("budget")
    @classmethod
    def _known_budget(cls, budget: dict[str, int]) -> dict[str, int]:
        return _known_keys(budget, BUDGET)

    @field_validator("tuned")
    @classmethod
    def _known_tuned(cls, tuned: dict[str, Any]) -> dict[str, Any]:
        return _known_keys(tuned, PopulationSettings.model_fields)

    @field_validator("baselines")
    @classmethod
    def _sources(cls, baselines: dict[str, str]) -> dict[str, str]:
        for name, text in baselines.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"should have names of lower-case letters, not {name!r}")
            if text not in ("environment", "success") and "def compute_reward(" not in text:
                raise ValueError(
                    f"should have environment, success or the source of compute_reward for {name}"
                )
        return baselines


class Price(_Settings):
    """Dollars per million tokens."""

    prompt: NonNegativeFloat
    completion: NonNegativeFloat


class LLMSettings(_Settings):
    """``llm``: who writes the rewards.

    Attributes:
        target: class that answers, from the ``_target_`` of the provider's YAML.
        provider: name of a file in ``cfg/llm``.
        model: as the provider spells it; None means the provider's own default.
        base_url: of an OpenAI-compatible server; beats the variable and the provider's default.
        base_url_variable: environment variable that replaces `default_base_url`.
        default_base_url: the provider's own address.
        key_variable: environment variable that holds the key.
        key_required: False for servers that take any key.
        temperature: passed through; None leaves it to the server.
        max_completion_tokens: per reply, reasoning included.
        timeout_s: per request.
        max_retries: of one request, on rate limits, time-outs, cut connections and server errors.
        concurrency: requests in flight.
        max_usd: hard cap of the whole run, checked before each request; None for no cap.
        prices: model → price; ``*`` is for every model. No entry: dollars are unknown.
        parameters: further arguments of ``chat.completions.create``, passed through untouched.
        replay: run directory to answer from (provider ``replay``).
        seed: of the ``builtin`` designer; None takes ``experiment.seed``.
    """

    target: str = Field(alias="_target_")
    provider: str
    model: str | None
    base_url: str | None
    base_url_variable: str | None
    default_base_url: str | None
    key_variable: str | None
    key_required: bool
    temperature: float | None = Field(ge=0, le=2)
    max_completion_tokens: PositiveInt
    timeout_s: PositiveFloat
    max_retries: NonNegativeInt
    concurrency: PositiveInt
    max_usd: NonNegativeFloat | None
    prices: dict[str, Price]
    parameters: dict[str, Any]
    replay: str | None
    seed: NonNegativeInt | None


class TrainingSettings(_Settings):
    """``training``: what every backend needs to know.

    Attributes:
        target: class of the backend, from ``_target_``.
        total_timesteps: environment steps that each candidate learns from.
        checkpoints: how often the policy is looked at during training; the curve's points.
        checkpoint_episodes: episodes per look.
        timeout_s: wall time after which a training is given up.
        workers: processes at once; None takes the number of cores.
    """

    target: str = Field(alias="_target_")
    total_timesteps: PositiveInt
    checkpoints: PositiveInt
    checkpoint_episodes: PositiveInt
    timeout_s: PositiveFloat
    workers: PositiveInt | None

    def decisive(self) -> dict[str, Any]:
        """What the outcome of a training depends on; some would make it take longer at most."""
        idle = {"workers", "timeout_s"}
        if getattr(self, "shard", None) is None:
            idle.add("shard")
        return self.model_dump(exclude=idle)


class PopulationSettings(TrainingSettings):
    """``training=population``: all candidates and seeds as one stacked soft actor-critic.

    Attributes:
        algorithm: ``SAC``; for others there is ``training=sb3``.
        learning_rate: of actor, critics and temperature (Adam).
        hidden: widths of the hidden layers.
        layer_norm: normalise the critics' hidden layers; such critics are not exported.
        discount: of future rewards.
        bounded_values: keep the critics' targets within what the rewards seen so far can add up to.
        tau: share by which the target critics follow in each gradient step.
        initial_temperature: of the entropy bonus, which adapts itself.
        entropy_per_action: what the temperature aims at, for each number of an action; -1 is
            usual, more explores more.
        random_actions: share of steps with a random action while collecting, on top.
        batch_size: transitions per gradient step and learner.
        updates_per_step: gradient steps of each learner per environment step.
        actor_every: gradient steps of the critics for one of the actor and the temperature.
        updates_per_call: gradient steps in one call of the compiled update.
        learning_starts: environment steps with random actions, before anything is learned.
        hindsight: goals per transition that are replaced by ones reached later in the episode
            (HER, strategy ``future``: Andrychowicz et al. 2017); 0 for none.
        moving_share: of each minibatch, from episodes in which the achieved goal moved; such
            episodes can be rare where it is an object's place. Needs hindsight goals.
        movement_bonus: added to the reward of a step that moves the achieved goal, to explore; in
            standard deviations of the candidate's rewards. It fades to nothing over the first part
            of the training, and counts in no result. Needs hindsight goals.
        share_experience: False lets each training learn from its own steps only, and take
            `total_timesteps` of them.
        keep_experience: start an iteration on the steps of those before.
        buffer_size: most transitions that are kept over the iterations.
        episodes_per_round: that are collected while the learners learn from those before; None
            takes about 250 steps.
        device: ``auto`` (an accelerator where JAX finds one), ``cpu`` or ``gpu``.
        shard: candidates that are trained together, and share their experience; None for all. What
            one job does, so no more than this many can be on one machine of a cluster. Results
            depend on it, as they do not on where the shards run.
    """

    target: Literal["rewardsmith.training.population.backend.Population"] = Field(alias="_target_")
    algorithm: Literal["SAC"]
    learning_rate: PositiveFloat
    hidden: list[PositiveInt] = Field(min_length=1)
    layer_norm: bool
    discount: float = Field(gt=0, lt=1)
    bounded_values: bool
    tau: float = Field(gt=0, le=1)
    initial_temperature: PositiveFloat
    entropy_per_action: float
    random_actions: float = Field(ge=0, le=1)
    batch_size: PositiveInt
    updates_per_step: PositiveFloat
    actor_every: PositiveInt
    updates_per_call: PositiveInt
    learning_starts: NonNegativeInt
    hindsight: NonNegativeInt
    moving_share: float = Field(ge=0, le=1)
    movement_bonus: NonNegativeFloat
    share_experience: bool
    keep_experience: bool
    buffer_size: PositiveInt
    episodes_per_round: PositiveInt | None
    device: Literal["auto", "cpu", "gpu"]
    shard: PositiveInt | None = None

    @field_validator("algorithm", mode="before")
    @classmethod
    def _only_one(cls, algorithm: Any) -> Any:
        if algorithm != "SAC":
            raise ValueError("can only be 'SAC' with training=population; for others: training=sb3")
        return algorithm


class StableBaselines3Settings(TrainingSettings):
    """``training=sb3``: one process per training.

    Attributes:
        algorithm: name of a class of stable_baselines3 (or sb3_contrib), e.g. ``SAC``.
        policy: None picks ``MultiInputPolicy`` for dict observations, else ``MlpPolicy``.
        learning_rate: None leaves it to `kwargs`, `tuned` and the algorithm, in this order.
        kwargs: keyword arguments of the algorithm, passed through untouched.
        tuned: measured keyword arguments per algorithm, where `kwargs` does not say otherwise.
        replay_buffer: ``her`` for hindsight goals relabelled with the candidate's reward, or None.
        device: torch device.
        normalize_observations: put a running normalisation inside the policy.
    """

    target: Literal["rewardsmith.training.sb3.StableBaselines3"] = Field(alias="_target_")
    algorithm: str
    policy: str | None
    learning_rate: PositiveFloat | None
    kwargs: dict[str, Any]
    tuned: dict[str, dict[str, Any]]
    replay_buffer: Literal["her"] | None
    device: str
    normalize_observations: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the algorithm."""
        chosen = {**self.tuned.get(self.algorithm, {}), **self.kwargs}
        if self.learning_rate is not None:
            chosen["learning_rate"] = self.learning_rate
        return chosen


class StrategySettings(BaseModel):
    """``strategies.NAME``: a search strategy.

    Attributes:
        target: its class, from ``_target_``. Everything else is the strategy's own, and checked by
            its ``Options``.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    target: str = Field(alias="_target_")

    @property
    def options(self) -> dict[str, Any]:
        """The strategy's own settings."""
        return dict(self.model_extra or {})


class ScreenSettings(_Settings):
    """``experiment.screens``: what is looked at before a reward is trained.

    Attributes:
        static: stop rewards whose code differs from an earlier one's in wording only.
        behaviour: stop rewards that say the same of recorded transitions as an earlier one.
        preference: what to do about rewards that put failed episodes above successful ones:
            ``skip`` the screen, ``note`` the share in the record, or ``reject`` them.
    """

    static: bool
    behaviour: bool
    preference: Literal["skip", "note", "reject"]


class ExperimentSettings(_Settings):
    """``experiment``: the search.

    Attributes:
        strategy: names of files in ``cfg/strategy``; with several, the iterations are split among
            them in this order.
        candidates: rewards per iteration.
        iterations: rounds of ask, train, evaluate, reflect.
        seeds: trainings per candidate, each with a seed of its own.
        repairs: how often a rejected reply goes back to the provider with its error.
        seed: everything random in the run derives from it.
        evaluation_episodes: held-out episodes per training seed that candidates are ranked by.
        test_episodes: further held-out episodes, of other seeds, that the result is reported on.
        races: rounds of further trainings, `seeds` each, for candidates that cannot be told from
            the best; each round keeps at most half of them.
        indifference: successes that all lie within so much are as good as equal, and need no race.
        final_seeds: how often the winner, the baselines and the best of the first iteration are
            trained from scratch for the result; 0 tests the policy that the search found.
        final: backend of those trainings, a file in ``cfg/training``; None takes the search's own.
        prompt_tokens: most tokens of a prompt, by the estimate of `rewardsmith.search.history`;
            what happened earlier is shortened to fit, the task never is.
        resume: run directory to go on with.
        screens: before training.
        seed_rewards: files with rewards of the user's own, which take the first places of
            iteration 1: Python, or Markdown with a block of it.
    """

    strategy: list[str] = Field(min_length=1)
    candidates: PositiveInt
    iterations: PositiveInt
    seeds: PositiveInt
    repairs: NonNegativeInt
    seed: NonNegativeInt
    evaluation_episodes: PositiveInt
    test_episodes: PositiveInt
    races: NonNegativeInt
    indifference: NonNegativeFloat
    final_seeds: NonNegativeInt
    final: str | None
    prompt_tokens: PositiveInt
    resume: str | None
    screens: ScreenSettings
    seed_rewards: list[str]

    @field_validator("strategy", mode="before")
    @classmethod
    def _one_or_many(cls, strategy: Any) -> Any:
        return [strategy] if isinstance(strategy, str) else strategy


class SandboxSettings(_Settings):
    """``sandbox``: limits of a reward process.

    Attributes:
        allow_weaker: go on where seccomp is missing; recorded in every result.
        deadline_s: for one batch; the parent kills what takes longer.
        memory_mib: address space of a reward process.
        cpu_s: processor time of a reward process over its whole life.
        batch_rows: rows of the shared memory, the most that one exchange holds.
    """

    allow_weaker: bool
    deadline_s: PositiveFloat
    memory_mib: int = Field(ge=256)
    cpu_s: PositiveInt
    batch_rows: int = Field(ge=64, le=65536)


class PathSettings(_Settings):
    """``paths``: where runs are written."""

    results: str = Field(min_length=1)


class VideoSettings(_Settings):
    """``video``: the winner at work. Runs from before there were videos have no such settings.

    Attributes:
        episodes: how many, on seeds of their own; 0 for no video. Of long ones there are fewer.
        size: width of the video, pixels.
        fps: pictures per second; None takes the environment's own.
        frames: most pictures; what would need more is shown faster.
        render_seconds: about how long rendering may take, for the same purpose.
    """

    episodes: NonNegativeInt = 4
    size: int = Field(default=480, ge=160, le=1920, multiple_of=2)
    fps: float | None = Field(default=None, ge=1, le=60)
    frames: PositiveInt = 300
    render_seconds: PositiveFloat = 60.0


class TrackingSettings(_Settings):
    """``tracking``: who is told of the run, beside TensorBoard.

    Attributes:
        target: class that tells, from ``_target_``; None for nobody.
        project: that the run belongs to there.
        mode: ``online``, ``offline`` (Weights & Biases: written to disk, for ``wandb sync``), or
            None for what the variable ``WANDB_MODE`` says.
    """

    target: str | None = Field(default=None, alias="_target_")
    project: str = Field(default="rewardsmith", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    mode: Literal["online", "offline"] | None = None


class ExecutorSettings(_Settings):
    """``executor``: where trainings run.

    Attributes:
        target: class that runs them, from ``_target_``.
        shard: what ``training.shard`` takes as its default.
    """

    target: str = Field(
        default="rewardsmith.execution.local.LocalExecutor", alias="_target_", min_length=1
    )
    shard: PositiveInt | None = None


class RaySettings(_Settings):
    """``ray``: the cluster of ``executor=ray``.

    Attributes:
        address: ``HOST:PORT``; None takes the variable ``RAY_ADDRESS``, or the cluster that this
            machine is a node of.
        retries: how often a job is begun again whose node was lost.
        gpus: for each job.
    """

    address: str | None = None
    retries: NonNegativeInt = 3
    gpus: NonNegativeFloat = 0


class SlurmSettings(_Settings):
    """``slurm``: what ``executor=slurm`` asks of the cluster.

    Attributes:
        cluster: ``slurm``, or ``local`` to try it on this machine.
        cores: processors for each job.
        memory_gib: for each job; None leaves it to the cluster.
        hours: after which Slurm ends a job.
        partition: None leaves it to the cluster.
        retries: how often a job is handed in again that came to nothing.
        parameters: further ones of ``sbatch``, as submitit spells them (``slurm_account``, …).
    """

    cluster: Literal["slurm", "local"] = "slurm"
    cores: PositiveInt = 4
    memory_gib: PositiveFloat | None = None
    hours: PositiveFloat = 4
    partition: str | None = None
    retries: NonNegativeInt = 3
    parameters: dict[str, Any] = {}


AnyTraining = Annotated[
    PopulationSettings | StableBaselines3Settings, Field(discriminator="target")
]


class Settings(_Settings):
    """Everything that a run depends on."""

    env: EnvSettings
    llm: LLMSettings
    training: AnyTraining
    final_training: AnyTraining | None = None
    experiment: ExperimentSettings
    strategies: dict[str, StrategySettings]
    sandbox: SandboxSettings
    paths: PathSettings
    video: VideoSettings = VideoSettings()
    tracking: TrackingSettings = TrackingSettings()
    executor: ExecutorSettings = ExecutorSettings()
    ray: RaySettings = RaySettings()
    slurm: SlurmSettings = SlurmSettings()

    @model_validator(mode="after")
    def _nothing_to_see(self) -> Settings:
        if self.env.environment_fields:
            raise ValueError(
                f"env.environment_fields is {list(self.env.environment_fields)}, but a search must "
                "not see what the environment says: leave it empty"
            )
        return self

    @model_validator(mode="after")
    def _evaluation_fits(self) -> Settings:
        for training in self._trainings():
            if training.checkpoints > training.total_timesteps:
                raise ValueError(
                    f"training.checkpoints is {training.checkpoints}, more than "
                    f"training.total_timesteps={training.total_timesteps}"
                )
        return self

    def _trainings(self) -> list[PopulationSettings | StableBaselines3Settings]:
        """Of the search, and of the result if it is another."""
        return [self.training, *([self.final_training] if self.final_training else [])]

    @model_validator(mode="after")
    def _seed_rewards_fit(self) -> Settings:
        seeds, places = self.experiment.seed_rewards, self.experiment.candidates
        if len(seeds) > places:
            raise ValueError(
                f"experiment.seed_rewards names {len(seeds)} files, but with "
                f"experiment.candidates={places} there is no room for so many"
            )
        return self

    @model_validator(mode="after")
    def _strategies_exist(self) -> Settings:
        for name in self.experiment.strategy:
            if name not in self.strategies:
                raise ValueError(
                    f"experiment.strategy names {name!r}, but the strategies are "
                    f"{', '.join(self.strategies)}"
                )
        if len(self.experiment.strategy) > self.experiment.iterations:
            raise ValueError(
                f"experiment.strategy chains {len(self.experiment.strategy)} strategies, but "
                f"experiment.iterations is only {self.experiment.iterations}"
            )
        return self

    @model_validator(mode="after")
    def _calls_are_whole(self) -> Settings:
        for training in self._trainings():
            if not isinstance(training, PopulationSettings):
                continue
            every, steps = training.actor_every, training.updates_per_call
            if steps % every:
                raise ValueError(
                    f"training.updates_per_call is {steps}, which is no multiple of "
                    f"training.actor_every={every}"
                )
        return self

    @model_validator(mode="after")
    def _seeds_do_not_meet(self) -> Settings:
        experiment = self.experiment
        most = experiment.seeds * (1 + experiment.races * experiment.iterations)
        if max(most, experiment.final_seeds) > FINAL_TRAININGS:
            raise ValueError(
                f"experiment.seeds={experiment.seeds} with experiment.races={experiment.races} in "
                f"{experiment.iterations} iterations (or experiment.final_seeds="
                f"{experiment.final_seeds}) could need more than {FINAL_TRAININGS} seeds"
            )
        return self


_Model = TypeVar("_Model", bound=BaseModel)


def check(values: dict[str, Any]) -> Settings:
    """Turn a plain dict into `Settings`.

    Args:
        values: the composed configuration.

    Raises:
        ConfigurationError: a value is not allowed; one sentence names the key, the value and
            what is allowed.
    """
    return check_part(Settings, values)


def check_part(model: type[_Model], values: dict[str, Any], place: Sequence[str] = ()) -> _Model:
    """Turn a part of the configuration into its model; see `check`.

    Args:
        model: what the part must look like.
        values: of the part.
        place: keys that lead to the part, for the sentence.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(_sentence(first, place)) from None


def _sentence(error: Any, start: Sequence[str]) -> str:
    place = [*start, *(str(part) for part in error["loc"])]
    if place[:1] == ["training"]:
        del place[1:2]  # the class that was chosen by training._target_
    key = ".".join(place)
    if not key:
        return str(error["ctx"]["error"]) + "."
    if error["type"] == "missing":
        return f"{key} is missing from the configuration."
    if error["type"] == "extra_forbidden":
        return f"{key} is not a setting of {'.'.join(place[:-1]) or 'the configuration'}."
    if error["type"] == "union_tag_invalid":
        tag, known = error["ctx"]["tag"], error["ctx"]["expected_tags"]
        return f"{key}._target_ is {tag!r}, but it should be one of {known}."
    allowed = error["msg"]
    for noise in ("Input ", "String ", "List ", "Value error, "):
        allowed = allowed.removeprefix(noise)
    return f"{key} is {error['input']!r}, but it {allowed}."
