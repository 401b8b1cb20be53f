"""What the command line says to a wrong word, and what Hydra makes of the right ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import ROOT, environment, generate

SENTENCES = {
    ("llm.provider=openai",): "needs a key: set OPENAI_API_KEY",
    ("llm.provider=groq", "llm.model=llama3-70b-8192"): "needs a key: set GROQ_API_KEY",
    ("llm.provider=opanai",): "llm.provider is 'opanai', but it must be one of anthropic, auto",
    ("training.total_timesteps=-5",): "training.total_timesteps is -5, but it should be greater",
    ("experiment.candidates=0",): "experiment.candidates is 0, but it should be greater than 0",
    ("llm.temperature=7",): "llm.temperature is 7, but it should be less than or equal to 2",
    ("env.id=FetchReech-v3",): "env.id is 'FetchReech-v3', .* did you mean FetchReach-v3",
    ("env=gym", "env.id=Reacher-v5"): "env.description is missing",
    ("experiment.resume=nowhere",): "experiment.resume is 'nowhere', but there is no run",
    ("training.algorithm=PPO", "env=point"): (
        "training.algorithm is 'PPO', .* with training=population; for others: training=sb3"
    ),
    ("+training.kwargs.gamma=0.9", "env=point"): "training.kwargs is not a setting of training",
    ("training=sb3", "training.algorithm=SAK", "env=point"): (
        "training.algorithm is 'SAK', .* one of A2C,.* DDPG"
    ),
    ("env=gym", "env.id=CartPole-v1", "env.description=x"): (
        "needs continuous, bounded actions, but CartPole-v1 has .*: use training=sb3"
    ),
    (
        "training=sb3",
        "training.replay_buffer=her",
        "env=gym",
        "env.id=CartPole-v1",
        "env.description=x",
    ): "CartPole-v1 has no goals",
    ("training._target_=rewardsmith.nothing.Here", "env=point"): (
        "training._target_ is 'rewardsmith.nothing.Here', but it should be one of 'rewardsmith"
    ),
    ("strategies.greedy._target_=rewardsmith.nothing.Here", "env=point"): (
        "_target_ is .* cannot be import"
    ),
    ("experiment.strategy=[greedy,gready]", "env=point"): (
        "experiment.strategy names 'gready', but the strategies are .*greedy"
    ),
    ("experiment.strategy=[greedy,greedy]", "experiment.iterations=1", "env=point"): (
        "experiment.strategy chains 2 strategies, but experiment.iterations is only 1"
    ),
    ("experiment.seed_rewards=[nowhere.py]", "env=point"): (
        "experiment.seed_rewards names 'nowhere.py', which cannot be read: No such file"
    ),
    ("experiment.seed_rewards=[a.py,b.py]", "experiment.candidates=1", "env=point"): (
        "names 2 files, but with experiment.candidates=1 there is no room for so many"
    ),
    ("+strategies.greedy.island=3", "env=point"): "strategies.greedy.island is not a setting of",
}


@pytest.mark.parametrize("arguments", SENTENCES, ids=" ".join)
def test_a_wrong_value_gives_one_sentence_code_2_and_leaves_nothing(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    result = generate(tmp_path, *arguments)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.returncode == 2
    assert len(lines) == 1, result.stderr
    assert re.search(SENTENCES[arguments], lines[0]), lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("training.steps=5", "Key 'steps' is not in struct"),
        ("env=nothing", "Could not find 'env/nothing'"),
    ],
)
def test_an_unknown_key_or_group_fails_with_hydras_own_words(
    argument: str, sentence: str, tmp_path: Path
) -> None:
    result = generate(tmp_path, argument)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_and_the_composed_configuration_are_shown(tmp_path: Path) -> None:
    shown = generate(tmp_path, "--help").stdout
    for group in ("env:", "experiment:", "llm:", "paths:", "sandbox:", "training:"):
        assert group in shown
    assert "pick_and_place" in shown
    job = generate(tmp_path, "--cfg", "job", "env=push", "experiment.seed=3").stdout
    assert "id: FetchPush-v3" in job
    assert "seed: 3" in job
    assert list(tmp_path.iterdir()) == []


def test_shell_completion_offers_groups_and_keys(tmp_path: Path) -> None:
    script = generate(tmp_path, "-sc", "install=bash").stdout
    assert "hydra_bash_completion" in script
    line = {"COMP_LINE": "python gen.py env=", "COMP_POINT": "18"}
    offered = generate(tmp_path, "-sc", "query=bash", **line).stdout.split()
    assert "env=reach" in offered
    assert "env=slide" in offered


def test_the_wheel_carries_the_configuration_and_runs_outside_the_clone(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(installed)], check=True)
    shown = subprocess.run(
        [sys.executable, "-m", "rewardsmith", "--cfg", "job"],
        cwd=elsewhere,
        env=environment(PYTHONPATH=str(installed)),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "id: FetchReach-v3" in shown
    assert (installed / "rewardsmith" / "cfg" / "llm" / "openai.yaml").is_file()
    assert (installed / "rewardsmith" / "prompts" / "task.j2").is_file()
    assert (installed / "rewardsmith" / "reward" / "seccomp" / "x86_64.bpf").is_file()
    assert (
        "rewardsmith = rewardsmith.commands:main"
        in next(installed.glob("*.dist-info/entry_points.txt")).read_text()
    )
