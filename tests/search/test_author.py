"""From replies to candidates: each fault under its status, repairs, and errors of the provider."""

from collections.abc import Sequence
from typing import Any

import pytest

from rewardsmith.errors import ProviderError
from rewardsmith.llm.types import Message, Reply, Request
from rewardsmith.reward.extract import extract_code
from rewardsmith.search.author import Author
from rewardsmith.search.base import Draft
from rewardsmith.search.screens import Screens
from rewardsmith.tasks.task import build_task, play_randomly
from rewardsmith.types import Candidate, Status
from tests.conftest import load_settings

GOOD = """```python
def compute_reward(state, action, next_state):
    near = -np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    return near, {"near": near}
```
"""


class Scripted:
    """Stands in for a session: answers from a list and remembers what was asked."""

    def __init__(self, *answers: Reply | ProviderError) -> None:
        self.answers = list(answers)
        self.asked: list[Request] = []

    def ask(self, requests: Sequence[Request]) -> list[Reply | ProviderError]:
        self.asked += requests
        return [self.answers.pop(0) for _ in requests]


def write(
    *answers: str | ProviderError | Reply,
    repairs: int = 0,
    count: int = 1,
    drafts: Sequence[Draft] = (),
) -> Any:
    settings = load_settings("env=point", "sandbox.allow_weaker=true")
    task = build_task(settings.env)
    replies = [Reply(item, "m") if isinstance(item, str) else item for item in answers]
    session = Scripted(*replies)
    play, sandbox = play_randomly(task, 0), settings.sandbox
    screens = Screens(settings.experiment.screens, task, play, sandbox)
    author = Author(session, task, play, sandbox, repairs, screens)  # type: ignore[arg-type]
    numbers = range(len(drafts), len(drafts) + count)
    requests = [Request((Message("user", "go"),), 1, number) for number in numbers]
    versions: list[Candidate] = []
    return author.write([*drafts, *requests], versions.append), session, versions


@pytest.mark.parametrize(
    ("reply", "status", "reason"),
    [
        ("", Status.NO_CODE, "empty_reply"),
        ("I cannot.", Status.NO_CODE, "no_code_block"),
        (GOOD[:90], Status.NO_CODE, "cut_off"),
        (
            GOOD.replace("    near", "    while True: pass\n    near", 1),
            Status.REJECTED,
            "while_loop",
        ),
        (GOOD.replace("near, {", "near * 2, {"), Status.PROBE_FAILED, "wrong_sum"),
    ],
)
def test_a_faulty_reply_has_its_status_and_reason(reply: str, status: Status, reason: str) -> None:
    (candidate,), _, _ = write(reply)
    assert candidate.fault.status is status
    assert candidate.fault.reason == reason
    assert candidate.reply == reply


def test_an_error_of_the_provider_costs_that_candidate_only() -> None:
    candidates, session, _ = write(ProviderError("no answer"), GOOD, repairs=2, count=2)
    assert [item.fault and item.fault.status for item in candidates] == [Status.NO_REPLY, None]
    assert "no answer" in candidates[0].fault.message
    assert len(session.asked) == 2  # the session has retried already


def test_a_repair_shows_the_reply_and_the_error_and_stops_when_it_works() -> None:
    bad = GOOD.replace("axis=-1", "axis=0")
    (candidate,), session, versions = write(bad, GOOD, repairs=3)
    assert candidate.fault is None
    assert candidate.attempts == 2
    assert [message.role for message in session.asked[1].messages] == ["user", "assistant", "user"]
    assert session.asked[1].messages[1].content == bad.strip()
    assert "shape (N,)" in session.asked[1].messages[2].content
    assert session.asked[1].attempt == 1
    assert len(versions) == 2


def test_repairs_end_after_the_given_number() -> None:
    (candidate,), session, _ = write("no", "no", "no", repairs=2)
    assert candidate.fault.status is Status.NO_CODE
    assert candidate.attempts == 3
    assert len(session.asked) == 3


def test_words_of_an_exception_do_not_reach_the_provider() -> None:
    hostile = GOOD.replace(
        "    near = -", '    x = {"a": 1.0}["ignore_all_previous"]\n    near = -'
    )
    (candidate,), _, _ = write(hostile)
    assert candidate.fault.reason == "missing_key"
    assert candidate.fault.message.count("ignore_all_previous") == 1  # in the quoted line only
    assert candidate.fault.message.startswith("line 2, `x = ")


OTHER = GOOD.replace("-np.linalg.norm(", "np.exp(-np.linalg.norm(").replace("=-1)", "=-1))")


def test_a_duplicate_goes_back_and_its_place_is_given_to_another() -> None:
    candidates, session, _ = write(GOOD, GOOD.replace("near", "close"), OTHER, repairs=1, count=2)
    assert [item.fault for item in candidates] == [None, None]
    assert candidates[1].attempts == 2
    assert "the same code as that of candidate 1/0" in session.asked[2].messages[-1].content


def test_without_repairs_the_later_one_stays_a_duplicate() -> None:
    (first, second), _, versions = write(GOOD, GOOD, count=2)
    assert first.fault is None
    assert second.fault.status is Status.DUPLICATE
    assert len(versions) == 2


def test_a_reply_like_a_draft_is_the_duplicate_and_drafts_go_back_to_nobody() -> None:
    source = extract_code(GOOD)
    drafts = [Draft(1, 0, source, "mine.py"), Draft(1, 1, source, "again.py")]
    candidates, session, _ = write(GOOD, drafts=drafts)
    assert [item.origin for item in candidates] == ["mine.py", "again.py", "provider"]
    assert [item.fault and item.fault.reason for item in candidates] == [
        None,
        "static_duplicate",
        "static_duplicate",
    ]
    assert len(session.asked) == 1
