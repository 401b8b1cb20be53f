"""Turn requests into candidates: ask, extract the code, check it, send errors back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from rewardsmith.errors import ProviderError
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Message, Reply, Request
from rewardsmith.reward.bench import try_each
from rewardsmith.reward.extract import extract_code, is_cut_off
from rewardsmith.reward.probe import probe_in
from rewardsmith.reward.process import RewardProcess
from rewardsmith.search.base import Draft, Proposal
from rewardsmith.search.prompts import repair_prompt
from rewardsmith.search.screens import Said, Screens
from rewardsmith.settings import SandboxSettings
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import PROVIDER, Candidate, Fault, RewardFunction, Status

OnCandidate = Callable[[Candidate], None]


class Author:
    """Writes candidates with the help of a provider."""

    def __init__(
        self,
        session: Session,
        task: Task,
        play: RandomPlay,
        sandbox: SandboxSettings,
        repairs: int,
        screens: Screens | None = None,
        workers: int = 1,
    ) -> None:
        """Remember the means; nothing is asked yet.

        Args:
            session: the conversation with the provider.
            task: whose fields a reward may read.
            play: transitions to try rewards on.
            sandbox: limits of reward processes.
            repairs: how often an error goes back to the provider.
            screens: look at what has passed the probe; None to train it all.
            workers: reward processes at a time.
        """
        self.session = session
        self.task = task
        self.play = play
        self.sandbox = sandbox
        self.repairs = repairs
        self.screens = screens
        self.workers = workers

    def write(self, proposals: Sequence[Proposal], on_candidate: OnCandidate) -> list[Candidate]:
        """Make one candidate of each proposal: check what is there, ask for the others.

        Replies that fail go back with their error; a draft has nobody to go back to. Of two that
        are alike the later one is the duplicate: drafts are there first, then come the replies in
        the order of the candidates, then those to the first repairs, and so on.

        Args:
            proposals: of one iteration.
            on_candidate: told every version of every candidate.

        Returns:
            One candidate per proposal; those that stayed unusable carry their fault.
        """
        candidates: dict[int, Candidate] = {}

        def keep(found: Iterator[Candidate]) -> None:
            for candidate in found:
                candidates[candidate.index] = candidate
                on_candidate(candidate)

        keep(self._checked([_drafted(item) for item in proposals if isinstance(item, Draft)]))
        pending = [proposal for proposal in proposals if isinstance(proposal, Request)]
        for attempt in range(self.repairs + 1):
            answers = self.session.ask(pending) if pending else []
            keep(self._checked(list(map(_candidate, pending, answers))))
            pending = [
                _repair(request, candidates[request.candidate], attempt + 1)
                for request in pending
                if _can_repair(candidates[request.candidate])
            ]
        return [candidates[proposal.candidate] for proposal in proposals]

    def remember(self, candidates: Sequence[Candidate], iteration: int) -> None:
        """Let the screens know candidates of an iteration that is over."""
        if self.screens is not None:
            known = [item for item in candidates if item.fault is None and item.reward is not None]
            self.screens.remember(known, iteration)

    def _checked(self, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
        """Probe and screen those that have code; the processes run side by side."""
        if candidates and self.screens is not None:
            self.screens.begin(candidates[0].iteration)
        rewards = [item.reward for item in candidates if item.fault is None and item.reward]
        tried = try_each(rewards, self.task.layout, self.sandbox, self._try, self.workers)
        for candidate in candidates:
            yield candidate if candidate.fault else self._judged(candidate, *next(tried))

    def _try(
        self, process: RewardProcess, reward: RewardFunction
    ) -> tuple[Fault | None, Said | Fault | None]:
        """What the probe finds, and what the reward says to the screens; called in a thread."""
        fault = probe_in(process, reward, self.play.probe)
        if fault is not None or self.screens is None:
            return fault, None
        return None, self.screens.listen(process)

    def _judged(
        self, candidate: Candidate, fault: Fault | None, said: Said | Fault | None
    ) -> Candidate:
        """A candidate as the probe has left it, screened.

        A strategy's variant of a reward is like it on purpose: it is only remembered.
        """
        candidate = replace(candidate, fault=fault)
        if self.screens is None or said is None:
            return candidate
        if candidate.parents and candidate.origin != PROVIDER:
            self.screens.accept(candidate, said)
            return candidate
        return self.screens.judge(candidate, said)


def _candidate(request: Request, answer: Reply | ProviderError) -> Candidate:
    candidate = Candidate(
        request.iteration,
        request.candidate,
        reward=None,
        parents=request.parents,
        attempts=request.attempt + 1,
    )
    if isinstance(answer, ProviderError):
        fault = Fault(Status.NO_REPLY, type(answer).__name__, str(answer))
        return replace(candidate, fault=fault)
    candidate = replace(candidate, reply=answer.text)
    source = extract_code(answer.text)
    if source is None:
        return replace(candidate, fault=_no_code(answer))
    return replace(candidate, reward=RewardFunction(source))


def _drafted(draft: Draft) -> Candidate:
    return Candidate(
        draft.iteration,
        draft.candidate,
        RewardFunction(draft.source),
        reply=draft.source,
        parents=draft.parents,
        origin=draft.origin,
    )


def _no_code(reply: Reply) -> Fault:
    if not reply.text.strip():
        length = " (it used up all its tokens)" if reply.finish_reason == "length" else ""
        return Fault(Status.NO_CODE, "empty_reply", f"The reply was empty{length}.")
    if is_cut_off(reply.text):
        message = "The reply ends inside its code block; it was cut off. Write a shorter one."
        return Fault(Status.NO_CODE, "cut_off", message)
    message = "The reply has no fenced Python code block with a function `compute_reward`."
    return Fault(Status.NO_CODE, "no_code_block", message)


def _can_repair(candidate: Candidate) -> bool:
    return candidate.fault is not None and candidate.fault.status is not Status.NO_REPLY


def _repair(request: Request, candidate: Candidate, attempt: int) -> Request:
    assert candidate.fault is not None
    said = candidate.reply.strip() or "(nothing)"
    messages = (
        *request.messages,
        Message("assistant", said),
        Message("user", repair_prompt(candidate.fault)),
    )
    return replace(request, messages=messages, attempt=attempt)
