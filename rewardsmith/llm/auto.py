"""Which provider answers when the user has named none (``llm.provider=auto``)."""

from __future__ import annotations

from collections.abc import Mapping

from rewardsmith.settings import LLMSettings

# Tried in this order: the provider, and the variable whose presence selects it.
_KEYED = (("openai", "OPENAI_API_KEY"), ("groq", "GROQ_API_KEY"))


def choose_provider(settings: LLMSettings, environment: Mapping[str, str]) -> tuple[str, str]:
    """Pick the provider whose file in ``cfg/llm`` the run is composed with.

    What the user has set by hand comes first, then the keys, then `builtin`, which always works.

    Returns:
        The provider's name and one line that says why.
    """
    if settings.replay:
        return "replay", f"llm.replay is set: answering from the recorded run {settings.replay}"
    if settings.base_url:
        return "compatible", "llm.base_url is set: asking that OpenAI-compatible server"
    for provider, variable in _KEYED:
        if environment.get(variable, "").strip():
            return provider, f"{variable} is set: asking {provider}"
    return "builtin", _without_key()


def _without_key() -> str:
    variables = " or ".join(variable for _, variable in _KEYED)
    return f"no {variables} found"
