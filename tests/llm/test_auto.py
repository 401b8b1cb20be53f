"""Which provider ``llm.provider=auto`` picks."""

from __future__ import annotations

import pytest

from rewardsmith.llm.auto import choose_provider
from tests.llm.conftest import llm_settings

OPENAI = {"OPENAI_API_KEY": "sk-fake"}
GROQ = {"GROQ_API_KEY": "gsk-fake"}


@pytest.mark.parametrize(
    ("changes", "environment", "expected"),
    [
        ({}, OPENAI | GROQ, "openai"),
        ({}, GROQ, "groq"),
        ({}, GROQ | {"OPENAI_API_KEY": ""}, "groq"),
        ({}, {"OPENAI_API_KEY": "  "}, "builtin"),
        ({}, {}, "builtin"),
        ({"base_url": "http://127.0.0.1:1/v1"}, OPENAI, "compatible"),
        ({"replay": "results/reach"}, OPENAI, "replay"),
    ],
)
def test_choice(changes: dict[str, str], environment: dict[str, str], expected: str) -> None:
    provider, reason = choose_provider(llm_settings("auto", **changes), environment)
    assert provider == expected
    assert "\n" not in reason


def test_reason_names_the_variable_and_never_its_value() -> None:
    assert choose_provider(llm_settings("auto"), GROQ) == (
        "groq",
        "GROQ_API_KEY is set: asking groq",
    )


def test_without_a_key_it_says_which_keys_it_looked_for() -> None:
    assert choose_provider(llm_settings("auto"), {}) == (
        "builtin",
        "no OPENAI_API_KEY or GROQ_API_KEY found",
    )
