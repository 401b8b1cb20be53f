"""What a request's chat holds of the past, and that it keeps within its budget."""

from __future__ import annotations

import re
from functools import cache

import pytest

from rewardsmith.llm.types import Message, Request
from rewardsmith.search.base import NoOptions, rank
from rewardsmith.search.greedy import Greedy
from rewardsmith.search.history import (
    NOTHING_SAID,
    Turn,
    conversation,
    estimate_tokens,
    reflect,
    summary,
    weights,
)
from rewardsmith.tasks.task import RandomPlay, Task, play_randomly
from rewardsmith.types import Fault, Status, Trial
from tests.conftest import load_settings, load_task
from tests.search.made_up import curve, episodes, failed, trained

SUCCESSES = (0.0, 0.25, 0.5, 0.75, 1.0)
LONG_SOURCE = "\n".join(
    [
        "def compute_reward(state, action, next_state):",
        *[f"    value_{number} = np.tanh({number}.0 * gap) - 0.5" for number in range(400)],
        "    return near, {'near': near}",
    ]
)


@cache
def play() -> tuple[Task, RandomPlay]:
    task = load_task("env=point")
    return task, play_randomly(task, 0)


def candidate(
    iteration: int, index: int, solved: int, parts: int = 2, source: str = "", kind: str = "success"
) -> Trial:
    """One whose source says which it is."""
    values = {f"part_{number}": SUCCESSES for number in range(parts)}
    text = f"MARK_{iteration}_{index} = 1\n{source}"
    points = curve(SUCCESSES if kind == "success" else (None,) * 5, **values)
    played = [episodes(solved, 20)] * 2
    return trained([points] * 2, played, kind, (iteration, index), text)


def iterations(count: int, *best: int) -> list[Turn]:
    """One candidate in each, with so many successes of 20."""
    turns, trials = [], []
    for number in range(1, count + 1):
        trials.append(candidate(number, 0, best[number - 1] if best else 10 + number))
        turns.append(Turn(number, (trials[-1],), tuple(rank(trials))))
    return turns


def chat(turns: list[Turn], budget: int = 100_000, number: int = 1) -> tuple[Message, ...]:
    return conversation(*play(), number, 4, turns, budget)


def text_of(messages: tuple[Message, ...]) -> str:
    return "\n".join(message.content for message in messages)


# -- turns ----------------------------------------------------------------------------------------


def test_the_first_chat_is_the_task_alone() -> None:
    messages = chat([])
    assert [message.role for message in messages] == ["system", "user"]
    assert "request 1 of 4" in messages[1].content


def test_a_turn_is_the_best_reply_of_an_iteration_and_the_reflection_on_it() -> None:
    trials = (candidate(1, 0, 5), candidate(1, 1, 15))
    messages = chat([Turn(1, trials, tuple(rank(trials)))])
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2].content == trials[1].candidate.reply.strip()
    assert messages[3].content.startswith("# What happened in iteration 1")
    assert "# Your turn" in messages[3].content


def test_four_turns_are_told_and_older_ones_are_a_line_each() -> None:
    messages = chat(iterations(7))
    assert [message.role for message in messages[2:]] == ["assistant", "user"] * 4
    for place, number in enumerate((4, 5, 6, 7)):
        assert f"MARK_{number}_0" in messages[2 + 2 * place].content
        assert f"in iteration {number}" in messages[3 + 2 * place].content
    earlier = messages[1].content.partition("# Earlier iterations")[2]
    assert re.findall(r"^\| (\d) \| \1/0 \| (0\.\d\d) ", earlier, re.M) == [
        ("1", "0.55"),
        ("2", "0.60"),
        ("3", "0.65"),
    ]
    assert "`part_0 + part_1`" in earlier
    assert text_of(messages).count("# Your turn") == 1


def test_the_best_code_is_in_the_chat_even_if_its_turn_is_not() -> None:
    messages = chat(iterations(7, 19, 5, 5, 5, 5, 5, 5))
    assert "best reward so far is candidate 1/0" in messages[-1].content
    assert text_of(messages).count("MARK_1_0") == 1
    assert "MARK_1_0" in messages[-1].content


def test_code_that_stands_in_the_reply_is_not_repeated() -> None:
    messages = chat(iterations(2))
    assert text_of(messages).count("MARK_2_0") == 1
    assert text_of(messages).count("MARK_1_0") == 1


def test_an_iteration_without_a_trained_reward_says_so() -> None:
    fault = Fault(Status.NO_CODE, "empty_reply", "The reply was empty.")
    messages = chat([Turn(1, (failed((1, 0), fault),), ())])
    assert messages[2].content == NOTHING_SAID
    assert "The reply was empty." in messages[3].content
    assert "Write a reward function that can be trained." in messages[3].content
    assert "nothing could be trained (no code)" in summary(
        [Turn(1, (failed((1, 0), fault),), ())], []
    )


def test_the_summary_keeps_the_latest_lines_and_counts_the_others() -> None:
    turns = iterations(9)
    text = summary(turns, turns[-1].ranking, rows=3)
    assert re.findall(r"^\| (\d) \|", text, re.M) == ["7", "8", "9"]
    assert "The 6 before these are left out." in text


def test_weights_are_read_from_plain_products_only() -> None:
    source = (
        "K = 3.0\nnear = 2.0 * np.exp(-gap)\neffort = -0.1 * a * b\nfar = gap * 2.0\n"
        "flat = 1.0\nflag = True * gap\n"
    )
    assert weights(source) == {"near": 2.0, "effort": -0.1}
    assert weights("def (") == {}


# -- the budget -----------------------------------------------------------------------------------


def test_tokens_are_estimated_from_characters() -> None:
    assert estimate_tokens([Message("user", "x" * 35)]) == 14
    assert estimate_tokens([Message("user", "x" * 36), Message("user", "")]) == 19


def test_what_is_over_the_budget_is_given_up_in_order() -> None:
    """Turns first, oldest first; then rows; then the middle of long texts."""
    trials = [candidate(n, i, n + i, parts=9) for n in range(1, 5) for i in range(9)]
    turns = [
        Turn(n, tuple(trials[9 * n - 9 : 9 * n]), tuple(rank(trials[: 9 * n]))) for n in range(1, 5)
    ]
    full = estimate_tokens(chat(turns))
    fewer = chat(turns, full - 1)
    assert len(fewer) == 2 + 2 * 3
    assert "| 1 | 1/8 |" in fewer[1].content
    assert len(re.findall(r"^\| `part_\d` \|", fewer[-1].content, re.M)) == 9
    one = estimate_tokens(chat(turns[:1])) + 300
    shorter = chat(turns, one - 600)
    assert len(shorter) == 4
    assert 0 < len(re.findall(r"^\| `part_\d` \|", shorter[-1].content, re.M)) < 9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("budget", "kind"), [(3_000, "success"), (12_000, "success"), (12_000, "return")]
)
def test_ten_iterations_of_sixteen_long_candidates_stay_within_the_budget(
    budget: int, kind: str
) -> None:
    settings = load_settings(
        "env=point", "experiment.candidates=16", f"experiment.prompt_tokens={budget}"
    )
    strategy = Greedy(NoOptions(), settings, *play())
    long_message = "It is not so. " * 100
    for number in range(1, 11):
        requests = strategy.ask(number)
        assert len(requests) == 16
        for request in requests:
            assert isinstance(request, Request)
            assert estimate_tokens(request.messages) <= budget
            assert "# What to write" in request.messages[1].content
            assert "123.4" not in text_of(request.messages)
            if number > 1:
                assert f"in iteration {number - 1}" in request.messages[-1].content
        faults = [
            failed((number, i), Fault(Status.CRASHED, "overflow", long_message, 3, "x" * 200))
            for i in range(12, 16)
        ]
        best = [candidate(number, i, i, 12, LONG_SOURCE, kind) for i in range(12)]
        strategy.tell(number, [*best, *faults])


def test_a_budget_below_the_task_leaves_the_task_and_the_shortest_account() -> None:
    messages = chat(iterations(6), budget=10)
    assert len(messages) == 4
    assert "# What to write" in messages[1].content
    assert len(messages[3].content) < 1_500


def test_the_budget_is_stated_in_the_settings() -> None:
    settings = load_settings("env=point")
    assert settings.experiment.prompt_tokens == 12_000


def test_the_reflection_for_people_is_whole() -> None:
    turn = iterations(1)[0]
    assert "MARK_1_0" in reflect(turn, 20)
