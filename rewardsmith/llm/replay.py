"""Answers from a recorded run, for nothing: no key, no network, no dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rewardsmith.errors import ProviderUnusable, ReplayMismatch
from rewardsmith.llm.exchanges import read_exchanges
from rewardsmith.llm.types import Reply, Request, Usage
from rewardsmith.settings import LLMSettings


class ReplayProvider:
    """Gives each request the reply that the same request got when the run was recorded.

    Requests are told apart by their content (`Request.key`), never by their order, so an answer
    can never land under a prompt that it was not written for.
    """

    name = "replay"

    def __init__(self, settings: LLMSettings, environment: Mapping[str, str]) -> None:
        """Read the recorded run ``llm.replay``; the environment is not looked at.

        Raises:
            ProviderUnusable: there is no such run, or it has no replies.
            ResultsError: a record is damaged.
        """
        if not settings.replay:
            raise ProviderUnusable("llm.provider=replay needs llm.replay=<run directory>.")
        self._run = Path(settings.replay)
        if not self._run.is_dir():
            raise ProviderUnusable(
                f"llm.replay={self._run} is no run directory: name one that holds iteration_1."
            )
        self._replies = read_exchanges(self._run)
        if not self._replies:
            raise ProviderUnusable(
                f"llm.replay={self._run} holds no recorded replies: name a run that has some."
            )
        self.model = next(iter(self._replies.values())).model

    def complete(self, request: Request) -> Reply:
        """Answer from the record.

        Raises:
            ReplayMismatch: the record has no answer to this request.
        """
        reply = self._replies.get(request.key)
        if reply is None:
            raise ReplayMismatch(
                f"{self._run} holds no answer to iteration {request.iteration}, candidate "
                f"{request.candidate}, attempt {request.attempt}: its prompt differs from the "
                "recorded one, so replay with the configuration and version of that run."
            )
        notes = tuple(note for note in reply.notes if note != "replayed")
        return replace(reply, usage=Usage(), seconds=0.0, notes=(*notes, "replayed"))

    def describe(self) -> str:
        """Name the run that the answers come from."""
        return f"replay: {len(self._replies)} recorded replies of {self.model} from {self._run}"
