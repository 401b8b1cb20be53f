"""What every strategy in cfg/strategy must do; a new file there is tested for free."""

from __future__ import annotations

import pytest

from rewardsmith.llm.types import Request
from rewardsmith.search.base import Proposal
from rewardsmith.types import Status
from tests.conftest import CFG, load_settings
from tests.search.trials import PENDULUM, POINT, RETURNS, SECRET_RETURN, build, failed, trials_of
from tests.search.trials import text_of as read

STRATEGIES = sorted(file.stem for file in (CFG / "strategy").glob("*.yaml"))
TASKS = {"success": POINT, "return": PENDULUM}
every_strategy = pytest.mark.parametrize("name", STRATEGIES)
every_kind = pytest.mark.parametrize("kind", TASKS)


def play(
    name: str, *overrides: str, kind: str = "success", iterations: int = 4
) -> list[list[Proposal]]:
    """Ask and tell for some iterations; what was proposed."""
    strategy = build(name, *overrides, task=TASKS[kind])
    asked = []
    for iteration in range(1, iterations + 1):
        asked.append(strategy.ask(iteration))
        strategy.tell(iteration, trials_of(asked[-1], kind))
    return asked


@every_strategy
def test_it_is_listed_in_the_configuration(name: str) -> None:
    assert name in load_settings().strategies


@every_kind
@every_strategy
def test_the_same_was_told_so_the_same_is_asked(name: str, kind: str) -> None:
    first, second = (play(name, kind=kind) for _ in range(2))
    assert first == second
    parents = [[item.parents for item in proposals] for proposals in first]
    assert parents == [[item.parents for item in proposals] for proposals in second]


@every_strategy
def test_asking_twice_changes_nothing(name: str) -> None:
    strategy = build(name)
    for iteration in (1, 2, 3):
        asked = strategy.ask(iteration)
        assert strategy.ask(iteration) == asked
        strategy.tell(iteration, trials_of(asked))


@pytest.mark.parametrize("count", [1, 2, 8])
@every_strategy
def test_there_is_one_proposal_per_candidate_with_its_number(name: str, count: int) -> None:
    for iteration, proposals in enumerate(play(name, f"experiment.candidates={count}"), 1):
        assert [item.candidate for item in proposals] == list(range(count))
        assert {item.iteration for item in proposals} == {iteration}


@every_kind
@every_strategy
def test_no_prompt_holds_values_of_the_environments_reward(name: str, kind: str) -> None:
    formats = (".0f", ".1f", ".2f", ".3g", ".4g")
    values = [f"{value:{form}}" for value in (SECRET_RETURN, *RETURNS) for form in formats]
    for proposals in play(name, kind=kind):
        for item in proposals:
            if isinstance(item, Request):
                assert not [value for value in (*values, "SECRET") if value in read(item)]


@every_strategy
def test_no_two_requests_of_a_run_are_the_same(name: str) -> None:
    """A replay tells requests apart by their content."""
    for count in (1, 3):
        asked = play(name, f"experiment.candidates={count}", iterations=6)
        keys = [item.key for proposals in asked for item in proposals if isinstance(item, Request)]
        assert len(set(keys)) == len(keys)


@every_strategy
def test_prolonging_a_run_asks_for_what_it_has_asked_again(name: str) -> None:
    """Or a resumed run would pay for its replies twice."""
    short = play(name, "experiment.iterations=2", iterations=2)
    assert play(name, "experiment.iterations=5", iterations=5)[:2] == short


@every_strategy
def test_parents_are_earlier_candidates(name: str) -> None:
    known: set[str] = set()
    for proposals in play(name):
        assert {label for item in proposals for label in item.parents} <= known
        known |= {f"{item.iteration}/{item.candidate}" for item in proposals}


@every_strategy
def test_it_goes_on_after_iterations_in_which_nothing_could_be_trained(name: str) -> None:
    strategy = build(name, "experiment.candidates=2")
    keys = set()
    for iteration in (1, 2):
        asked = strategy.ask(iteration)
        assert all(isinstance(item, Request) for item in asked)
        keys |= {item.key for item in asked if isinstance(item, Request)}
        reflection = strategy.tell(iteration, [failed(item, Status.REJECTED) for item in asked])
        assert "No candidate of this iteration could be trained" in reflection
    assert len(keys) == 4
    asked = strategy.ask(3)
    strategy.tell(3, trials_of(asked))
    assert len(strategy.ask(4)) == 2


@every_kind
@every_strategy
def test_the_reflection_tells_people_what_happened(name: str, kind: str) -> None:
    strategy = build(name, task=TASKS[kind])
    trials = trials_of(strategy.ask(1), kind)
    reflection = strategy.tell(1, trials)
    assert all(trial.candidate.label in reflection for trial in trials)
    assert str(SECRET_RETURN) not in reflection
