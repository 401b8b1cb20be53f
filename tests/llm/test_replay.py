"""A recorded run answers for nothing, and never with another request's answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rewardsmith.errors import ProviderUnusable, ReplayMismatch
from rewardsmith.llm.exchanges import write_exchange
from rewardsmith.llm.replay import ReplayProvider
from rewardsmith.llm.types import Reply, Request, Usage
from tests.llm.conftest import llm_settings

Make = Callable[..., Request]


@pytest.fixture
def run(tmp_path: Path, request_of: Make) -> Path:
    """A run with two candidates on record."""
    for candidate in (0, 1):
        reply = Reply(f"reward {candidate}", "gpt-5-mini", "stop", Usage(1, 100, 50, 0.3), 9.0)
        folder = tmp_path / "reach" / "iteration_1"
        write_exchange(folder, request_of(candidate), reply, None, "openai", {})
    return tmp_path / "reach"


def _provider(run: Path | None) -> ReplayProvider:
    return ReplayProvider(llm_settings("replay", replay=None if run is None else str(run)), {})


def test_answers_by_content_in_any_order(run: Path, request_of: Make) -> None:
    provider = _provider(run)
    replies = [provider.complete(request_of(candidate)) for candidate in (1, 0, 1)]
    assert [reply.text for reply in replies] == ["reward 1", "reward 0", "reward 1"]


def test_costs_nothing_and_says_so(run: Path, request_of: Make) -> None:
    reply = _provider(run).complete(request_of(0))
    assert reply.usage == Usage(requests=0, prompt_tokens=0, completion_tokens=0, usd=0.0)
    assert reply.model == "gpt-5-mini"
    assert reply.notes == ("replayed",)


def test_describes_where_the_answers_come_from(run: Path) -> None:
    assert _provider(run).describe() == (f"replay: 2 recorded replies of gpt-5-mini from {run}")


@pytest.mark.parametrize(("candidate", "text"), [(2, "Write a reward."), (0, "Another prompt.")])
def test_what_was_never_asked_is_a_mismatch(
    run: Path, request_of: Make, candidate: int, text: str
) -> None:
    where = rf"iteration 5, candidate {candidate}, attempt 0: its prompt differs"
    with pytest.raises(ReplayMismatch, match=where):
        _provider(run).complete(request_of(candidate, text, iteration=5))


def test_a_missing_run(tmp_path: Path) -> None:
    with pytest.raises(ProviderUnusable, match=r"llm\.replay=.*nowhere is no run directory"):
        _provider(tmp_path / "nowhere")


def test_a_run_without_records(tmp_path: Path) -> None:
    with pytest.raises(ProviderUnusable, match="holds no recorded replies"):
        _provider(tmp_path)


def test_no_run_named() -> None:
    with pytest.raises(ProviderUnusable, match=r"needs llm\.replay=<run directory>"):
        _provider(None)
