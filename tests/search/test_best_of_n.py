"""Best of N: the control without feedback."""

from rewardsmith.llm.types import Request
from tests.search.trials import build, text_of, trained


def test_nothing_is_fed_back() -> None:
    strategy = build("best_of_n", "experiment.candidates=3")
    first = strategy.ask(1)
    strategy.tell(1, [trained(1, number, 0.5) for number in range(3)])
    second = strategy.ask(2)
    for earlier, later in zip(first, second, strict=True):
        assert isinstance(earlier, Request) and isinstance(later, Request)
        number = f"request {later.candidate + 4} of 6"
        assert number in text_of(later)
        asked = text_of(earlier).replace(f"request {earlier.candidate + 1} of 3", number)
        assert text_of(later) == asked
        assert later.brief.parents == () == later.parents
