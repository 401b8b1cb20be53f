"""The main routine: ask, check, train, measure, reflect, again; then test the best."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from rewardsmith.errors import ProviderError
from rewardsmith.evaluation import fitness
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Request, Usage
from rewardsmith.results import RunDirectory
from rewardsmith.search.author import Author
from rewardsmith.search.base import Proposal, Strategy, rank
from rewardsmith.search.screens import savings
from rewardsmith.settings import Settings
from rewardsmith.standalone import standalone_module
from rewardsmith.tasks.task import Task
from rewardsmith.training.base import FINAL_TRAININGS, Backend
from rewardsmith.types import Candidate, Episodes, Evaluation, Fitness, Status, Trial


class Listener(Protocol):
    """Told what happens, as it happens."""

    def iteration_started(self, number: int, of: int, candidates: int) -> None:
        """A round begins."""

    def candidate_written(self, candidate: Candidate) -> None:
        """A reply was turned into a candidate, usable or not."""

    def progressed(self, candidate: Candidate, data: dict[str, Any]) -> None:
        """A training came further."""

    def evaluated(self, trial: Trial, usage: Usage) -> None:
        """A candidate is finished."""

    def iteration_finished(self, number: int, best: Trial | None) -> None:
        """A round ends."""

    def retraining(self, best: Trial, seeds: int) -> None:
        """The best reward is trained with once more, for the result."""


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        trials: all of them, in order.
        best: None if no reward could be trained.
        final: fresh trainings with the best reward, None if there were none; its fitness is on the
            test episodes.
        test: fitness on the test episodes, which nothing was selected by: of `final`, or of the
            search's own best policy.
        usage: what the provider cost, earlier parts of a resumed run included.
        seconds: wall time of this process.
        timesteps: environment steps that were taken.
        stopped: why the search ended early, None if it did not.
    """

    trials: tuple[Trial, ...]
    best: Trial | None
    final: Evaluation | None
    test: Fitness | None
    usage: Usage
    seconds: float
    timesteps: int
    stopped: ProviderError | None = None


@dataclass
class Loop:
    """One run of the search.

    Attributes:
        settings: of the whole run.
        task: to design a reward for.
        strategy: decides what is asked.
        author: gets candidates from the provider.
        backend: trains and evaluates them.
        run: where everything is kept.
        session: counts what the provider costs.
        listener: told what happens.
        paid: what an interrupted part of this run has already cost.
        by: who writes the rewards, for the record.
    """

    settings: Settings
    task: Task
    strategy: Strategy
    author: Author
    backend: Backend
    run: RunDirectory
    session: Session
    listener: Listener
    paid: Usage
    by: str
    trials: list[Trial] = field(default_factory=list, init=False)

    def search(self) -> Result:
        """Search for a reward, test the best one, and keep the result.

        Everything that is finished is on disk at every moment; run again over the same directory,
        this goes on where it stopped and pays for no reply twice.
        """
        started = time.monotonic()
        stopped = None
        try:
            for number in range(1, self.settings.experiment.iterations + 1):
                self._iterate(number)
        except ProviderError as error:
            stopped = error  # what is finished still makes a result
        final = self._retrain()
        evaluations = [trial.evaluation for trial in self.trials] + ([final] if final else [])
        result = Result(
            trials=tuple(self.trials),
            best=self._best(),
            final=final,
            test=final.fitness if final and final.fitness else self._test(),
            usage=self.paid + self.session.usage,
            seconds=time.monotonic() - started,
            timesteps=sum(evaluation.collected for evaluation in evaluations),
            stopped=stopped,
        )
        self.run.write_summary(summarize(result))
        return result

    def _iterate(self, number: int) -> None:
        experiment = self.settings.experiment
        self.listener.iteration_started(number, experiment.iterations, experiment.candidates)
        proposals = self.strategy.ask(number)
        self._keep_prompt(number, proposals)
        candidates = self.author.write(proposals, self._written)
        trials = self._judge(number, candidates)
        reflection = self.strategy.tell(number, trials)
        self.run.write_iteration(number, [_row(trial) for trial in trials], reflection)
        self._keep_best()
        self.listener.iteration_finished(number, self._best())

    def _keep_prompt(self, number: int, proposals: Sequence[Proposal]) -> None:
        """Keep the first request, as an example for people to read."""
        request = next((item for item in proposals if isinstance(item, Request)), None)
        if request is not None:
            self.run.write_prompt(number, _readable(request))

    def _written(self, candidate: Candidate) -> None:
        self.run.write_reply(candidate)
        self.listener.candidate_written(candidate)

    def _judge(self, number: int, candidates: Sequence[Candidate]) -> list[Trial]:
        """Train and evaluate what can be trained; what is on disk already is not done again."""
        finished: dict[int, Trial] = {}

        def evaluated(candidate: Candidate, evaluation: Evaluation) -> None:
            trial = Trial(candidate, evaluation)
            self.run.write_trial(trial)
            self._finish(finished, trial)

        waiting = []
        for candidate in candidates:
            known = self.run.read_trial(number, candidate.index)
            if known is not None and _same_reward(known.candidate, candidate):
                self._finish(finished, known)
            elif candidate.fault is not None:
                evaluated(candidate, Evaluation(candidate.fault.status, fault=candidate.fault))
            else:
                waiting.append(candidate)
        if waiting:
            self.backend.train(waiting, self.listener.progressed, evaluated)
        trials = [finished[candidate.index] for candidate in candidates]
        self.trials += trials
        return trials

    def _finish(self, finished: dict[int, Trial], trial: Trial) -> None:
        finished[trial.candidate.index] = trial
        self.listener.evaluated(trial, self.paid + self.session.usage)

    def _best(self) -> Trial | None:
        return next(iter(rank(self.trials)), None)

    def _keep_best(self) -> None:
        best = self._best()
        if best is not None:
            module = standalone_module(best, self.task, self.by)
            self.run.write_best(best.candidate, _best_training(best), module)

    def _retrain(self) -> Evaluation | None:
        """Train the best reward from scratch on fresh seeds, and keep the policy it likes best.

        The policy is chosen by its own return: the test episodes choose nothing.
        """
        best = self._best()
        seeds = self.settings.experiment.final_seeds
        if best is None or not seeds:
            return None
        final = self.run.read_final(best.candidate)
        if final is None:
            self.listener.retraining(best, seeds)
            final = self.backend.retrain(best.candidate, self.listener.progressed)
            self.run.write_final(best.candidate, final)
        if final.fitness is not None:
            peaks = [max(point.own_return for point in curve) for curve in final.curves]
            training = FINAL_TRAININGS + peaks.index(max(peaks))
            module = standalone_module(best, self.task, self.by)
            self.run.write_best(best.candidate, training, module)
        return final

    def _test(self) -> Fitness | None:
        """Measure the search's best policy on episodes that nothing was selected by."""
        best = self._best()
        if best is None:
            return None
        episodes = self.backend.test(best.candidate, _best_training(best))
        return fitness(self.task.fitness_kind, [Episodes(**episodes)])


def _best_training(trial: Trial) -> int:
    scores = trial.evaluation.scores
    return scores.index(max(scores))


def _same_reward(known: Candidate, candidate: Candidate) -> bool:
    return known.reward == candidate.reward and known.reply == candidate.reply


def _readable(request: Request) -> str:
    parts = [f"<!-- {message.role} -->\n\n{message.content}" for message in request.messages]
    return "\n\n".join(parts)


def _row(trial: Trial) -> dict[str, Any]:
    """A candidate in an iteration's table."""
    evaluation, candidate = trial.evaluation, trial.candidate
    return {
        "candidate": candidate.label,
        "status": evaluation.status.value,
        "fitness": None if evaluation.fitness is None else asdict(evaluation.fitness),
        "fault": None if evaluation.fault is None else asdict(evaluation.fault),
        "sha256": None if candidate.reward is None else candidate.reward.sha256,
        "attempts": candidate.attempts,
        "timesteps": evaluation.timesteps,
        "seconds": round(evaluation.seconds, 1),
    }


def _final(evaluation: Evaluation) -> dict[str, Any]:
    """The fresh trainings in the summary."""
    return {
        "status": evaluation.status.value,
        "scores": list(evaluation.scores),
        "fault": None if evaluation.fault is None else asdict(evaluation.fault),
    }


def summarize(result: Result) -> dict[str, Any]:
    """The result as plain data."""
    best = result.best
    return {
        "best": None if best is None else _row(best),
        "test": None if result.test is None else asdict(result.test),
        "final": None if result.final is None else _final(result.final),
        "candidates": len(result.trials),
        "trained": sum(trial.evaluation.status is Status.OK for trial in result.trials),
        "screens": savings(result.trials),
        "usage": asdict(result.usage),
        "timesteps": result.timesteps,
        "seconds": round(result.seconds, 1),
        "stopped": None if result.stopped is None else str(result.stopped),
    }
