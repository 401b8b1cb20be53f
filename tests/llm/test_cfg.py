"""The shipped provider files: each composes, is allowed, and says what a user relies on."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from rewardsmith.settings import LLMSettings
from tests.llm.conftest import CFG, llm_settings

PROVIDERS = sorted(path.stem for path in (CFG / "llm").glob("*.yaml") if path.stem != "base")
KEYLESS = ("ollama", "vllm", "compatible", "builtin", "replay")
PRICED = ("openai", "groq", "openrouter", "anthropic")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_composes_into_allowed_settings(provider: str) -> None:
    settings = llm_settings(provider)
    assert settings.provider == provider
    assert settings.target.startswith("rewardsmith.llm.")
    assert settings.max_usd == 1.0
    assert settings.temperature == 1.0


def test_the_base_has_exactly_the_keys_of_the_settings() -> None:
    fields = LLMSettings.model_fields.items()
    names = {field.alias or name for name, field in fields}
    assert set(OmegaConf.load(CFG / "llm" / "base.yaml")) == names


@pytest.mark.parametrize("provider", KEYLESS)
def test_local_and_offline_providers_need_no_key(provider: str) -> None:
    assert not llm_settings(provider).key_required


@pytest.mark.parametrize("provider", PRICED)
def test_the_default_model_of_a_paid_provider_has_a_price(provider: str) -> None:
    settings = llm_settings(provider)
    assert settings.key_required
    assert settings.model in settings.prices


def test_groq_knows_both_llamas() -> None:
    prices = llm_settings("groq").prices
    for model in ("llama-3.3-70b-versatile", "llama3-70b-8192"):
        assert (prices[model].prompt, prices[model].completion) == (0.59, 0.79)


def test_ollama_is_sent_the_limit_under_the_name_that_it_heeds() -> None:
    assert llm_settings("ollama").parameters == {"max_tokens": 8192}
    assert llm_settings("ollama", max_completion_tokens=99).parameters == {"max_tokens": 99}
