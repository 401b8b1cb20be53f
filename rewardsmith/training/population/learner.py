"""Many soft actor-critics as one: the learners of a population, stacked.

Every array has a leading axis of L learners, and one compiled function updates them all
(`jax.vmap` over learners, `jax.lax.scan` over gradient steps). Nothing is reduced over the axis of
the learners, so what happens to one, NaN included, never reaches another.

Soft actor-critic with twin critics and an automatic temperature: Haarnoja et al. 2018,
https://arxiv.org/abs/1812.05905. Losses, initial values and the squashed Gaussian are those of
Stable-Baselines3, so that an exported model goes on learning there as it did here.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from rewardsmith.errors import ConfigurationError
from rewardsmith.settings import PopulationSettings
from rewardsmith.training.population.actor import LOG_STD_MAX, LOG_STD_MIN
from rewardsmith.training.population.cache import cache_folder

Array = jax.Array
Parameters = Any
STATISTICS = ("entropy", "q", "actor_loss", "critic_loss", "temperature")


class Batch(NamedTuple):
    """Minibatches for U gradient steps of L learners, B transitions each.

    Attributes:
        observation: (U, L, B, D) features.
        action: (U, L, B, A), from -1 to 1.
        reward: (U, L, B).
        next_observation: (U, L, B, D) features.
        terminated: (U, L, B), 1 where the episode ended for good.
        reward_range: (U, L, 2), lowest and highest reward that there has been.
    """

    observation: Any
    action: Any
    reward: Any
    next_observation: Any
    terminated: Any
    reward_range: Any


class LearnerState(NamedTuple):
    """Everything that a gradient step changes; the leading axis of every array is L.

    Attributes:
        actor: parameters.
        critic: parameters of both critics.
        target: slowly moving copy of `critic`.
        log_temperature: (L,).
        optimizers: of the three above.
        key: (L, 2) random state.
    """

    actor: Parameters
    critic: Parameters
    target: Parameters
    log_temperature: Any
    optimizers: Any
    key: Any


def choose_device(name: str) -> jax.Device:
    """Find the device to learn on, and keep compiled code on disk.

    Args:
        name: ``auto`` (an accelerator if JAX finds one), ``cpu`` or ``gpu``.

    Raises:
        ConfigurationError: there is no such device.
    """
    os.environ.setdefault("NPROC", "1")  # on a CPU, one thread is as fast, and leaves the others
    jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    try:
        return jax.devices(None if name == "auto" else name)[0]
    except RuntimeError:
        raise ConfigurationError(
            f"training.device is {name!r}, but JAX finds none: use training.device=auto, or "
            "install jax for your accelerator (https://docs.jax.dev/en/latest/installation.html)."
        ) from None


def pick(parameters: Parameters, learner: int) -> Parameters:
    """One learner's part of what `Learners.actors` or `Learners.critics` gave."""
    return jax.tree.map(lambda values: values[learner], parameters)


class Learners:
    """L soft actor-critics that learn side by side."""

    def __init__(
        self,
        settings: PopulationSettings,
        features: int,
        actions: int,
        seeds: NDArray[np.int64],
    ) -> None:
        """Draw the initial parameters and compile the update.

        Args:
            settings: networks, learning rates, and so on.
            features: D.
            actions: A.
            seeds: (L,) of the initial parameters and of everything random in learning.
        """
        self.settings = settings
        self.device = choose_device(settings.device)
        self.features, self.actions, self.count = features, actions, len(seeds)
        self._rates = _optimizers(settings)
        with jax.default_device(self.device):
            keys = jax.vmap(jax.random.key_data)(
                jax.vmap(jax.random.key)(jnp.asarray(seeds, dtype=jnp.uint32))
            )
            self.state = jax.jit(jax.vmap(self._initial))(keys)
        self._update = self._compile()

    @property
    def batch_shape(self) -> tuple[int, int, int]:
        """U, L and B of the minibatches that `update` takes."""
        return self.settings.updates_per_call, self.count, self.settings.batch_size

    def update(self, batch: Batch) -> Array:
        """Make U gradient steps; returns at once, while the device works.

        Args:
            batch: see `batch_shape`.

        Returns:
            (L, 5) means of `STATISTICS` over the U steps; wait for it with ``np.asarray``.
        """
        self.state, statistics = self._update(self.state, jax.device_put(batch, self.device))
        return statistics

    def actors(self) -> dict[str, Any]:
        """A copy of the actors' parameters on the host; waits for the device."""
        return jax.tree.map(np.array, self.state.actor)

    def critics(self) -> dict[str, Any]:
        """Copies of critics, targets and temperature on the host, for the export."""
        parts = {
            "critic": self.state.critic,
            "target": self.state.target,
            "log_temperature": self.state.log_temperature,
        }
        return jax.tree.map(np.array, parts)

    # -- inside -----------------------------------------------------------------------------

    def _compile(self) -> Any:
        every = self.settings.actor_every
        critic_step = jax.vmap(partial(self._step, whole=False))
        whole_step = jax.vmap(self._step)
        last = jnp.float32

        def some(state: LearnerState, batch: Batch) -> tuple[LearnerState, Array]:
            *early, last_part = (
                Batch(*(values[place] for values in batch)) for place in range(every)
            )
            for part in early:
                state, _ = critic_step(state, part)
            return whole_step(state, last_part)

        def update(state: LearnerState, batch: Batch) -> tuple[LearnerState, Array]:
            groups = Batch(*(values.reshape(-1, every, *values.shape[1:]) for values in batch))
            state, statistics = jax.lax.scan(some, state, groups)
            return state, statistics.mean(axis=0)

        shape = self.batch_shape
        wide = jax.ShapeDtypeStruct((*shape, self.features), last)
        flat = jax.ShapeDtypeStruct(shape, last)
        action = jax.ShapeDtypeStruct((*shape, self.actions), last)
        ends = jax.ShapeDtypeStruct((*shape[:2], 2), last)
        example = Batch(wide, action, flat, wide, flat, ends)
        with jax.default_device(self.device):
            return jax.jit(update, donate_argnums=0).lower(self.state, example).compile()

    def _initial(self, key: Array) -> LearnerState:
        settings = self.settings
        key, actor_key, critic_key = jax.random.split(jax.random.wrap_key_data(key), 3)
        widths = list(settings.hidden)
        actor = _network(actor_key, [self.features, *widths, 2 * self.actions], norm=False)
        critic = jax.vmap(
            lambda k: _network(
                k, [self.features + self.actions, *widths, 1], norm=settings.layer_norm
            )
        )(jax.random.split(critic_key))
        target = jax.tree.map(jnp.copy, critic)  # CRUCIAL: donated buffers must not be shared
        log_temperature = jnp.log(jnp.asarray(settings.initial_temperature, jnp.float32))
        actor_rate, critic_rate, temperature_rate = self._rates
        optimizers = (
            actor_rate.init(actor),
            critic_rate.init(critic),
            temperature_rate.init(log_temperature),
        )
        return LearnerState(
            actor, critic, target, log_temperature, optimizers, jax.random.key_data(key)
        )

    def _step(
        self, state: LearnerState, batch: Batch, whole: bool = True
    ) -> tuple[LearnerState, Array]:
        """One gradient step of one learner; of its critics alone, if it is not whole."""
        key, next_key, own_key = jax.random.split(jax.random.wrap_key_data(state.key), 3)
        state = state._replace(key=jax.random.key_data(key))
        temperature = jnp.exp(state.log_temperature)
        state, critic_value, q = self._improve_critics(state, batch, next_key)
        if not whole:
            return state, jnp.zeros(len(STATISTICS))
        state, actor_value, log = self._improve_actor(state, batch, own_key)
        return state, jnp.stack([-log, q, actor_value, critic_value, temperature])

    def _improve_critics(
        self, state: LearnerState, batch: Batch, key: Array
    ) -> tuple[LearnerState, Array, Array]:
        """Give the loss and the mean value too."""
        goal = self._goal(state, batch, key)

        def loss(critic: Parameters) -> tuple[Array, Array]:
            values = _q(critic, batch.observation, batch.action)
            return 0.5 * ((values - goal) ** 2).mean(axis=1).sum(), values.mean()

        actor_memory, memory, temperature_memory = state.optimizers
        (value, q), gradient = jax.value_and_grad(loss, has_aux=True)(state.critic)
        change, memory = self._rates[1].update(gradient, memory)
        critic = optax.apply_updates(state.critic, change)
        target = jax.tree.map(
            lambda old, new: old + self.settings.tau * (new - old), state.target, critic
        )
        optimizers = (actor_memory, memory, temperature_memory)
        return state._replace(critic=critic, target=target, optimizers=optimizers), value, q

    def _goal(self, state: LearnerState, batch: Batch, key: Array) -> Array:
        """(B,) what the critics should say."""
        action, log = _sample(state.actor, batch.next_observation, key, self.actions)
        q = _q(state.target, batch.next_observation, action).min(axis=0)
        discount = self.settings.discount
        if self.settings.bounded_values:
            lowest, highest = batch.reward_range / (1.0 - discount)
            q = jnp.clip(q, lowest, highest)
        future = q - jnp.exp(state.log_temperature) * log
        return batch.reward + discount * (1.0 - batch.terminated) * future

    def _improve_actor(
        self, state: LearnerState, batch: Batch, key: Array
    ) -> tuple[LearnerState, Array, Array]:
        """The temperature too; give the actor's loss and the mean log probability."""
        temperature = jnp.exp(state.log_temperature)

        def loss(actor: Parameters) -> tuple[Array, Array]:
            action, log = _sample(actor, batch.observation, key, self.actions)
            q = _q(state.critic, batch.observation, action).min(axis=0)
            return (temperature * log - q).mean(), log.mean()

        actor_rate, _, temperature_rate = self._rates
        memory, critic_memory, temperature_memory = state.optimizers
        (value, log), gradient = jax.value_and_grad(loss, has_aux=True)(state.actor)
        change, memory = actor_rate.update(gradient, memory)
        actor = optax.apply_updates(state.actor, change)
        # gradient of -log_temperature * (log_probability + target_entropy)
        gap = -(log + self.settings.entropy_per_action * self.actions)
        change, temperature_memory = temperature_rate.update(gap, temperature_memory)
        state = state._replace(
            actor=actor,
            log_temperature=state.log_temperature + change,
            optimizers=(memory, critic_memory, temperature_memory),
        )
        return state, value, log


def _optimizers(settings: PopulationSettings) -> tuple[Any, Any, Any]:
    """Adam for actor, critics and temperature."""
    adam = partial(optax.adam, settings.learning_rate)
    return adam(), adam(), adam()


def _network(key: Array, widths: list[int], norm: bool) -> dict[str, list[Array]]:
    """Weights (in, out) and biases, drawn as torch draws them: uniform within 1/sqrt(in)."""
    weights, biases, scales, shifts = [], [], [], []
    for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
        key, first, second = jax.random.split(key, 3)
        bound = 1.0 / np.sqrt(inputs)
        weights.append(jax.random.uniform(first, (inputs, outputs), minval=-bound, maxval=bound))
        biases.append(jax.random.uniform(second, (outputs,), minval=-bound, maxval=bound))
    if norm:
        scales = [jnp.ones(width) for width in widths[1:-1]]
        shifts = [jnp.zeros(width) for width in widths[1:-1]]
    return {"weights": weights, "biases": biases, "scales": scales, "shifts": shifts}


def _forward(network: dict[str, list[Array]], values: Array) -> Array:
    """(B, in) → (B, out): linear, layer norm where there is one, ReLU."""
    *hidden, last = zip(network["weights"], network["biases"], strict=True)
    for place, (weight, bias) in enumerate(hidden):
        values = values @ weight + bias
        if network["scales"]:
            values = values - values.mean(axis=-1, keepdims=True)
            values = values * jax.lax.rsqrt((values**2).mean(axis=-1, keepdims=True) + 1e-5)
            values = values * network["scales"][place] + network["shifts"][place]
        values = jax.nn.relu(values)
    return values @ last[0] + last[1]


def _q(critic: Parameters, observation: Array, action: Array) -> Array:
    """(2, B) values of both critics."""
    inputs = jnp.concatenate([observation, action], axis=-1)
    return jax.vmap(_forward, in_axes=(0, None))(critic, inputs)[..., 0]


def _sample(actor: Parameters, observation: Array, key: Array, actions: int) -> tuple[Array, Array]:
    """Draw actions (B, A) from the squashed Gaussian; give their log probabilities (B,) too."""
    output = _forward(actor, observation)
    mean, log_std = output[:, :actions], output[:, actions:]
    log_std = jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)
    noise = jax.random.normal(key, mean.shape)
    action = jnp.tanh(mean + jnp.exp(log_std) * noise)
    normal = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2.0 * jnp.pi)
    return action, (normal - jnp.log(1.0 - action**2 + 1e-6)).sum(axis=1)
