"""Write a reward as a module that stands alone: ``best/reward.py``.

The module holds the reward's source, the fields it reads, and the text of
`rewardsmith.tasks.wrapper`, so that a training script can use the reward without rewardsmith.
"""

from __future__ import annotations

import ast
import inspect

import rewardsmith
from rewardsmith.settings import EnvSettings
from rewardsmith.tasks import wrapper
from rewardsmith.tasks.task import FETCH_ID, Task
from rewardsmith.types import Trial

_HEADER = '''"""A reward function for {env_id}, written by {author}.

{description}

    import gymnasium
    from reward import GeneratedReward

    env = GeneratedReward({make})

For hindsight goals (HER), give GeneratedReward the size of the replay buffer as `capacity`, and
HerReplayBuffer `copy_info_dict=True`.

{origin}
"""

'''

_FOOTER = '''

# name: (first column, last column + 1, whether it is a single number), in the state record
FIELDS = {fields}
SOURCES = {sources}


def _fields(records):
    return {{
        name: records[:, start] if single else records[:, start:stop]
        for name, (start, stop, single) in FIELDS.items()
    }}


def _evaluate(state, action, next_state):
    return compute_reward(_fields(state), action, _fields(next_state))


class GeneratedReward(RewardWrapper):
    """The environment with the generated reward instead of its own."""

    def __init__(self, env, capacity=0):
        """Wrap an environment; `capacity` is the size of the replay buffer, for HER."""
        super().__init__(env, SOURCES, _evaluate, capacity)
'''


def standalone_module(trial: Trial, task: Task, author: str) -> str:
    """Give the text of the module.

    Args:
        trial: the reward and how it did.
        task: whose fields it reads.
        author: who wrote the reward, e.g. ``openai gpt-5-mini``.
    """
    fitness, reward = trial.evaluation.fitness, trial.candidate.reward
    assert fitness is not None and reward is not None
    origin = (
        f"Candidate {trial.candidate.label} of a rewardsmith {rewardsmith.__version__} run; "
        f"SHA-256 of the reward {reward.sha256[:16]}."
    )
    header = _HEADER.format(
        env_id=task.settings.id,
        make=_quoted(_make_call(task.settings)),
        author=_quoted(author),
        description=_quoted(task.settings.description.strip()),
        origin=origin,
    )
    fields = {item.name: (item.start, item.stop, item.scalar) for item in task.layout.fields}
    lines = "".join(f"    {name!r}: {value},\n" for name, value in fields.items())
    sources = "".join(f"    {item},\n" for item in task.sources)
    footer = _FOOTER.format(fields=f"{{\n{lines}}}", sources=f"[\n{sources}]")
    return header + _wrapper_text() + "\n\n" + _imports(reward.source) + reward.source + footer


def _make_call(settings: EnvSettings) -> str:
    """The call that makes the task's environment where rewardsmith is not installed."""
    env_id, arguments = settings.id, dict(settings.kwargs)
    if FETCH_ID.fullmatch(env_id):
        name = env_id.rpartition(":")[2]
        if settings.start_state == "as_released":  # only rewardsmith has it
            env_id = f"rewardsmith.tasks.fetch:{name}"
            arguments["start_state"] = settings.start_state
        else:
            env_id = f"gymnasium_robotics:{name.replace('-v3', '-v4')}"
    if settings.max_episode_steps is not None:
        arguments["max_episode_steps"] = settings.max_episode_steps
    words = [repr(env_id), *(f"{key}={value!r}" for key, value in arguments.items())]
    return f"gymnasium.make({', '.join(words)})"


def _quoted(text: str) -> str:
    """Text of the user's own, made fit to stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _wrapper_text() -> str:
    """The wrapper module without its docstring."""
    text = inspect.getsource(wrapper)
    docstring = ast.parse(text).body[0]
    return "\n".join(text.splitlines()[docstring.end_lineno :]).strip() + "\n"


def _imports(source: str) -> str:
    """A reward may use ``math`` and, in its annotations, ``typing`` without importing them."""
    return "import math\n\n\n" if "math." in source else "\n"
