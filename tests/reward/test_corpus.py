"""Stored snippets and replies: each is stopped, or accepted, where its manifest says."""

from __future__ import annotations

from typing import Any

import pytest

from rewardsmith.reward.extract import extract_code
from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.probe import probe
from rewardsmith.reward.process import RewardProcess
from rewardsmith.types import Fault, RewardFunction, Status
from tests.reward.conftest import DATA, LAYOUTS, LIMITS, make_transitions, manifest

SINCERE = sorted((DATA / "sincere").glob("*.txt"))


def judge(source: str, task: str) -> Fault | None:
    layout = LAYOUTS[task]
    return probe(RewardFunction(source), layout, make_transitions(layout), LIMITS)


@pytest.mark.parametrize("entry", manifest("corpus"), ids=lambda entry: entry["file"])
def test_snippet_is_stopped_at_its_layer(entry: dict[str, Any], process: RewardProcess) -> None:
    source = (DATA / "corpus" / entry["file"]).read_text()
    if entry["expected"] == "rejected":
        with pytest.raises(RewardFailure) as caught:
            process.load(RewardFunction(source))
        assert caught.value.fault(Status.REJECTED).status is Status.REJECTED
    elif entry["expected"] == "accepted":
        assert judge(source, "push") is None
    else:
        assert entry["expected"] == "caught_at_runtime"
        assert judge(source, "push") is not None


@pytest.mark.parametrize("entry", manifest("replies"), ids=lambda entry: entry["file"])
def test_reply_ends_where_it_should(entry: dict[str, Any]) -> None:
    source = extract_code((DATA / "replies" / entry["file"]).read_text())
    if entry["expected"] == "no_code":
        assert source is None
        return
    assert source is not None
    fault = judge(source, entry["task"])
    if entry["expected"] == "accepted":
        assert fault is None, fault
        return
    assert fault is not None
    statuses = {Status(entry["expected"])}
    if entry["file"] == "flawed/unknown_field.md":  # the dialect knows the fields
        statuses.add(Status.REJECTED)
    assert fault.status in statuses
    assert fault.message


@pytest.mark.parametrize("path", SINCERE, ids=lambda path: path.stem)
def test_sincere_code_is_accepted(path: Any) -> None:
    fault = judge(path.read_text(), "push")
    assert fault is None, fault


def test_there_are_enough_sincere_snippets() -> None:
    assert len(SINCERE) >= 20
