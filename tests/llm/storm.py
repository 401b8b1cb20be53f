"""Two hundred requests through a faulty network, and what came of them, by the provider's book."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardsmith.errors import BudgetExceeded, ProviderError
from rewardsmith.llm.chat import ChatProvider
from rewardsmith.llm.exchanges import read_exchanges
from rewardsmith.llm.ledger import Ledger
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Message, Reply, Request
from tests.llm import aimock
from tests.llm.conftest import KEY, llm_settings
from tests.llm.fault_proxy import FaultProxy
from tests.llm.faulty_server import Answer, FaultyServer, Sent, ok

REQUESTS, IN_FLIGHT = 200, 8
PROMPT_TOKENS, COMPLETION_TOKENS = 300, 900
PRICE = {"prompt": 1.0, "completion": 4.0}
USD = (PROMPT_TOKENS * PRICE["prompt"] + COMPLETION_TOKENS * PRICE["completion"]) / 1e6
TIMEOUT_S = 0.6
SHARE = 0.4

_NUMBER = re.compile(r"Write reward (\d+)\.")
_PADDING = "The gripper is at the goal. " * 12  # or the bound would be below what is billed


@dataclass(frozen=True)
class Upstream:
    """A provider behind the proxy.

    Attributes:
        url: base URL.
        billed: how often each request was answered, and so paid, by its own journal.
    """

    url: str
    billed: Callable[[], Counter[int]]


@dataclass(frozen=True)
class Outcome:
    """What came of all requests, in order.

    Attributes:
        answers: what `Session.ask` gave.
        replies: what is on record afterwards.
        lost: answers that are known to have been lost, by request.
        spent: dollars by our own account.
    """

    answers: list[Reply | ProviderError]
    replies: dict[str, Reply]
    lost: Counter[int]
    spent: float

    @property
    def answered(self) -> set[int]:
        """Numbers of the requests that have a reply."""
        return {i for i, answer in enumerate(self.answers) if isinstance(answer, Reply)}

    @property
    def reported(self) -> set[int]:
        """Numbers of the requests that failed with one sentence."""
        return {
            i
            for i, answer in enumerate(self.answers)
            if isinstance(answer, ProviderError)
            and re.fullmatch(r"\S.{20,500}", str(answer))
            and KEY not in str(answer)
        }

    @property
    def refused(self) -> set[int]:
        """Numbers of those that were not asked (any more) for want of money."""
        return {i for i, answer in enumerate(self.answers) if isinstance(answer, BudgetExceeded)}


def requests() -> list[Request]:
    """All that is asked, each different."""
    texts = (f"Write reward {i}. {_PADDING}" for i in range(REQUESTS))
    return [Request((Message("user", text),), 1, i) for i, text in enumerate(texts)]


def ask(url: str, run: Path, max_usd: float | None, **changes: Any) -> Outcome:
    """Ask everything, as a run does: in 8 threads, each exchange on disk, within a budget."""
    settings = llm_settings(
        "openai",
        base_url=url,
        model="model-a",
        prices={"model-a": PRICE},
        **{
            "timeout_s": TIMEOUT_S,
            "max_retries": 2,
            "max_usd": max_usd,
            "max_completion_tokens": COMPLETION_TOKENS + 100,
            "concurrency": IN_FLIGHT,
            **changes,
        },
    )
    provider = ChatProvider(settings, {"OPENAI_API_KEY": KEY})
    folder = run / "iteration_1"
    recorded = read_exchanges(run)
    ledger = Ledger(run / "spent.jsonl")
    session = Session(provider, lambda i: folder, settings.concurrency, recorded, {}, ledger)
    answers: list[Reply | ProviderError]
    try:
        answers = session.ask(requests())
    except BudgetExceeded as error:  # nobody got anything
        answers = [error] * REQUESTS
    return Outcome(answers, read_exchanges(run), _lost(answers), Ledger(ledger.file).open(0.0))


def _lost(answers: list[Reply | ProviderError]) -> Counter[int]:
    counted: Counter[int] = Counter()
    for index, answer in enumerate(answers):
        notes = answer.notes if isinstance(answer, Reply) else ()
        found = re.search(r"lost answers.*: (\d+)", " ".join(notes))
        counted[index] = int(found[1]) if found else 0
    return counted


@contextlib.contextmanager
def third_party(folder: Path) -> Iterator[Upstream]:
    """The provider that others wrote.

    Raises:
        aimock.Unavailable: it cannot be had here.
    """
    usage = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    }
    fixtures = [
        {
            "match": {"userMessage": f"Write reward {i}."},
            "response": {"content": f"reward {i}", "usage": usage},
        }
        for i in range(REQUESTS)
    ]
    with aimock.serving({"fixtures": fixtures}, folder) as server:

        def billed() -> Counter[int]:
            entries = server.control("GET", "journal")
            return Counter(
                _number(entry["body"]) for entry in entries if entry["response"]["status"] == 200
            )

        yield Upstream(f"{server.root}/v1", billed)


@contextlib.contextmanager
def own(folder: Path) -> Iterator[Upstream]:
    """The provider of these tests, where there is no Node."""

    def answer(sent: Sent) -> Answer:
        text = f"reward {_number(sent.body)}"
        return ok(text, "model-a", PROMPT_TOKENS, COMPLETION_TOKENS)

    with FaultyServer() as server:
        server.rules.append(answer)
        yield Upstream(server.url, lambda: Counter(_number(body) for body in server.bodies))


def proxied(upstream: Upstream, seed: int, share: float = SHARE) -> FaultProxy:
    """A faulty way to a provider."""
    return FaultProxy(upstream.url, seed, share, TIMEOUT_S)


def _number(body: dict[str, Any]) -> int:
    found = _NUMBER.search(body["messages"][-1]["content"])
    assert found is not None
    return int(found[1])
