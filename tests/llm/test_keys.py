"""Keys are found, and kept from child processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rewardsmith.errors import ConfigurationError
from rewardsmith.llm import keys
from rewardsmith.llm.keys import find_secrets, read_environment, scrub, without_secrets
from tests.llm.conftest import KEY


def test_dotenv_is_read_but_never_exported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f'export GROQ_API_KEY="{KEY}"\nNAME_ALONE\n')
    environment = read_environment(tmp_path)
    assert environment["GROQ_API_KEY"] == KEY
    assert "NAME_ALONE" not in environment
    assert "GROQ_API_KEY" not in os.environ


def test_the_process_beats_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("LLM_API_KEY=file\nGROQ_API_KEY=file\n")
    monkeypatch.setenv("LLM_API_KEY", "process")
    monkeypatch.setenv("GROQ_API_KEY", "")
    environment = read_environment(tmp_path)
    assert environment["LLM_API_KEY"] == "process"
    assert environment["GROQ_API_KEY"] == ""


def test_a_dollar_in_a_key_is_a_dollar(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LLM_API_KEY=sk-${HOME}-$x\n")
    assert read_environment(tmp_path)["LLM_API_KEY"] == "sk-${HOME}-$x"


def test_without_dotenv_the_process_environment_is_all(tmp_path: Path) -> None:
    assert read_environment(tmp_path) == dict(os.environ)


def test_unreadable_dotenv_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"LLM_API_KEY=\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read"):
        read_environment(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "openai_apikey",
        "GITHUB_TOKEN",
        "HF_TOKENS",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD",
        "MYSQL_PASSWD",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "SSH_AUTH_SOCK",
        "HTTP_AUTHORIZATION",
    ],
)
def test_a_child_gets_no_key(name: str) -> None:
    assert without_secrets({name: KEY, "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "name", ["PATH", "XAUTHORITY", "MUJOCO_GL", "TOKENIZERS_PARALLELISM", "KEYBOARD", "AUTHOR"]
)
def test_a_child_keeps_what_it_needs(name: str) -> None:
    assert without_secrets({name: "some harmless value"}) == {name: "some harmless value"}


def test_a_copy_of_a_key_under_another_name_is_withheld_too() -> None:
    environment = {"OPENAI_API_KEY": KEY, "BACKUP": KEY, "HOME": "/home/me"}
    assert without_secrets(environment) == {"HOME": "/home/me"}


def test_a_short_value_of_a_secret_does_not_take_others_along() -> None:
    assert without_secrets({"USE_AUTH": "1", "OMP_NUM_THREADS": "1"}) == {"OMP_NUM_THREADS": "1"}


def test_secrets_are_scrubbed_from_text() -> None:
    secrets = find_secrets({"A_KEY": KEY, "B_KEY": KEY + "-longer", "C_KEY": "1"})
    assert scrub(f"1: {KEY}-longer {KEY}", secrets) == "1: *** ***"


def test_a_taken_key_is_in_no_child_of_any_library_and_can_be_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_TAKEN", {})
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")
    monkeypatch.setenv("COPY_OF_IT", "sk-planted-0123456789")
    monkeypatch.setenv("HARMLESS", "yes")
    environment = keys.take_environment(tmp_path)
    shown = [sys.executable, "-c", "import os; print(dict(os.environ))"]
    child = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    assert environment["OPENAI_API_KEY"] == "sk-planted-0123456789"
    assert "sk-planted" not in child
    assert "'HARMLESS': 'yes'" in child
    assert keys.take_environment(tmp_path)["OPENAI_API_KEY"] == "sk-planted-0123456789"
