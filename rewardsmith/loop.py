"""The main routine: ask, check, train, measure, reflect, again; then test the best."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rewardsmith.errors import ProviderError, ResultsError
from rewardsmith.evaluation import fitness, merge
from rewardsmith.headline import Entrant, list_entrants, trained_together
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Request, Usage
from rewardsmith.results import RunDirectory
from rewardsmith.search.author import Author
from rewardsmith.search.base import Proposal, Strategy, rank
from rewardsmith.search.race import rivals
from rewardsmith.settings import Settings
from rewardsmith.standalone import standalone_module
from rewardsmith.summary import Result, author_of, card, row, summarize
from rewardsmith.tasks.baselines import Baseline
from rewardsmith.tasks.task import Task
from rewardsmith.training.base import Backend
from rewardsmith.types import (
    KILLED,
    WORKER_REASONS,
    Candidate,
    Episodes,
    Evaluation,
    Fitness,
    Trial,
)


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

    def racing(self, rivals: Sequence[Trial], seeds: int) -> None:
        """Candidates that cannot be told from the best are trained on more seeds."""

    def retraining(self, entrants: Sequence[Entrant], seeds: int) -> None:
        """The winner, or what it is compared with, is trained once more, for the result."""

    def finished(self, result: Result) -> None:
        """The run came to its end."""


@dataclass
class Loop:
    """One run of the search.

    Attributes:
        settings: of the whole run.
        task: to design a reward for.
        strategy: decides what is asked.
        author: gets candidates from the provider.
        backend: trains and evaluates them.
        final_backend: trains the winner and the baselines for the result.
        baselines: what the winner is compared with.
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
    final_backend: Backend
    baselines: Sequence[Baseline]
    run: RunDirectory
    session: Session
    listener: Listener
    paid: Usage
    by: str
    trials: list[Trial] = field(default_factory=list, init=False)
    _unlucky: dict[str, Evaluation] = field(default_factory=dict, init=False)

    def search(self) -> Result:
        """Search for a reward, test the best one, and keep the result.

        Everything that is finished is on disk at every moment; run again over the same directory,
        this goes on where it stopped and pays for no reply twice.
        """
        started, earlier = time.monotonic(), self.run.read_record().get("seconds", 0.0)
        stopped = None
        try:
            for number in range(1, self.settings.experiment.iterations + 1):
                self._iterate(number)
        except ProviderError as error:
            stopped = error  # what is finished still makes a result
        entrants = self._retrain()
        result = Result(
            trials=tuple(self.trials),
            best=self._best(),
            entrants=tuple(entrants),
            test=self._test(entrants),
            usage=self.paid + self.session.usage,
            seconds=earlier + time.monotonic() - started,
            timesteps=sum(trial.evaluation.collected for trial in self.trials),
            stopped=stopped,
        )
        self.run.update_record(seconds=result.seconds)
        self.run.write_summary(summarize(result, self.settings, self.run.read_record()))
        if result.best is not None:
            self.run.write_card(card(result, self.settings, self.task, self.by))
        self.listener.finished(result)
        return result

    def _iterate(self, number: int) -> None:
        experiment = self.settings.experiment
        self.listener.iteration_started(number, experiment.iterations, experiment.candidates)
        if self.run.is_closed(number):
            self.trials += self._recall(number)
        else:
            proposals = self.strategy.ask(number)
            self._keep_prompt(number, proposals)
            candidates = self.author.write(proposals, self._written)
            self.trials += self._judge(number, candidates)
        self._race(number)
        self._check_table(number)
        reflection = self.strategy.tell(number, tuple(self.trials))
        if not self.run.is_closed(number):
            self.run.write_iteration(number, self._table(number), reflection)
        self._keep_best()
        self.listener.iteration_finished(number, self._best())

    def _recall(self, number: int) -> list[Trial]:
        """The trials of an iteration that an earlier part of this run has finished.

        Nothing is asked again, not even where the provider had failed: what came later rests on it.
        """
        trials = self.run.read_trials(number)
        self.author.remember([trial.candidate for trial in trials], number)
        for trial in trials:
            self.listener.evaluated(trial, self.paid + self.session.usage)
        return trials

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
            if known is not None and _is_settled(known, candidate):
                self._finish(finished, known)
            elif candidate.fault is not None:
                evaluated(candidate, Evaluation(candidate.fault.status, fault=candidate.fault))
            else:
                waiting.append(candidate)
        if waiting:
            trainings = range(self.settings.experiment.seeds)
            self.backend.train(number, waiting, trainings, self.listener.progressed, evaluated)
        return [finished[candidate.index] for candidate in candidates]

    def _finish(self, finished: dict[int, Trial], trial: Trial) -> None:
        finished[trial.candidate.index] = trial
        self.listener.evaluated(trial, self.paid + self.session.usage)

    def _race(self, number: int) -> None:
        """Train those that cannot be told from the best on more seeds, ever fewer of them.

        Races that an earlier part of this run has had count as they are; an iteration that is over
        has no further ones.
        """
        experiment = self.settings.experiment
        for turn in itertools.count(1):
            more = self.run.read_race(number, turn)
            if more is None:
                most = experiment.candidates >> turn
                chosen = rivals(self.trials, most, experiment.indifference)
                if not chosen or turn > experiment.races or self._is_over(number):
                    break
                self.listener.racing(chosen, experiment.seeds)
                more = self._train_more(number, chosen)
                self.run.write_race(number, turn, more)
            found = {trial.candidate.label: trial.evaluation for trial in more}
            self.trials = [self._with_more(trial, found) for trial in self.trials]

    def _train_more(self, number: int, chosen: Sequence[Trial]) -> list[Trial]:
        """Train on seeds that none of them has had."""
        start = 1 + max(training for trial in chosen for training in trial.evaluation.trainings)
        trainings = range(start, start + self.settings.experiment.seeds)
        found: dict[str, Trial] = {}

        def evaluated(candidate: Candidate, evaluation: Evaluation) -> None:
            found[candidate.label] = Trial(candidate, evaluation)

        candidates = [trial.candidate for trial in chosen]
        self.backend.train(number, candidates, trainings, self.listener.progressed, evaluated)
        return [found[candidate.label] for candidate in candidates]

    def _with_more(self, trial: Trial, found: Mapping[str, Evaluation]) -> Trial:
        more = found.get(trial.candidate.label)
        if more is None:
            return trial
        merged = Trial(trial.candidate, merge(self.task.fitness_kind, trial.evaluation, more))
        self.listener.evaluated(merged, self.paid + self.session.usage)
        return merged

    def _table(self, number: int) -> list[dict[str, Any]]:
        """An iteration's candidates; its races may have been between earlier ones as well."""
        races = len(self.run.read_races(number))
        own = [trial for trial in self.trials if trial.candidate.iteration == number]
        return [{**row(trial), "races": races} for trial in own]

    def _is_over(self, number: int) -> bool:
        """Whether an iteration is finished, and all that its table rests on is there."""
        table = self.run.read_table(number)
        return table is not None and _same_outcomes(table, self._table(number))

    def _check_table(self, number: int) -> None:
        """See that an iteration that was over has come to the same as before.

        Raises:
            ResultsError: it has not: a file was lost or changed, and what came later rests on it.
        """
        if self.run.is_closed(number) and not self._is_over(number):
            folder = self.run.iteration(number)
            raise ResultsError(
                f"The candidates and races in {folder} do not come to what evaluations.json there "
                "says: a file is missing or was changed. Put it back, or delete evaluations.json "
                "and all that came later if you want to go on with what is there."
            )

    def _best(self) -> Trial | None:
        return next(iter(rank(self.trials)), None)

    def _keep_best(self) -> None:
        best = self._best()
        if best is not None:
            self._write_best(best, best.evaluation.best_training)

    def _write_best(self, best: Trial, training: int) -> None:
        module = standalone_module(best, self.task, author_of(best.candidate, self.by))
        self.run.write_best(best.candidate, training, module)

    def _retrain(self) -> list[Entrant]:
        """Train the winner and what it is compared with from scratch on fresh seeds.

        The policy that is kept is chosen by its own return: the test episodes choose nothing.
        """
        best = self._best()
        if best is None or not self.settings.experiment.final_seeds:
            return []
        waiting = list_entrants(best, self.trials, self.baselines, self.settings)
        for group in trained_together(self._finished(waiting)):
            self.listener.retraining(group, self.settings.experiment.final_seeds)
            self._retrain_group(group)
        finished = self._finished(waiting)
        winner = finished[0].evaluation
        if winner is not None and winner.fitness is not None:
            peaks = [max(point.own_return for point in curve) for curve in winner.curves]
            self._write_best(best, winner.trainings[peaks.index(max(peaks))])
        return finished

    def _finished(self, entrants: Sequence[Entrant]) -> list[Entrant]:
        """The entrants with what is known of their fresh trainings."""
        return [
            replace(
                item,
                evaluation=self.run.read_final(item.candidate, item.key)
                or self._unlucky.get(item.candidate.label),
            )
            for item in entrants
        ]

    def _retrain_group(self, group: Sequence[Entrant]) -> None:
        keys = {item.candidate.label: item.key for item in group}

        def evaluated(candidate: Candidate, evaluation: Evaluation) -> None:
            if evaluation.fault is not None and evaluation.fault.reason in WORKER_REASONS:
                self._unlucky[candidate.label] = evaluation  # another start may have more luck
            else:
                self.run.write_final(candidate, keys[candidate.label], evaluation)

        candidates = [item.candidate for item in group]
        self.final_backend.retrain(
            candidates, group[0].settings, self.listener.progressed, evaluated
        )

    def _test(self, entrants: Sequence[Entrant]) -> Fitness | None:
        """Fitness on the test episodes, of the fresh trainings if there are any."""
        best = self._best()
        if best is None:
            return None
        final = entrants[0].evaluation if entrants else None
        if final is not None and final.fitness is not None:
            return final.fitness
        episodes = self.backend.test(best.candidate, best.evaluation.best_training)
        return fitness(self.task.fitness_kind, [Episodes(**episodes)])


def _is_settled(known: Trial, candidate: Candidate) -> bool:
    """Whether what is on disk says what becomes of a candidate: not if its worker was killed.

    That may have been the end of the whole run, which only reached the controller last.
    """
    fault = known.evaluation.fault
    same = known.candidate.reward == candidate.reward and known.candidate.reply == candidate.reply
    return same and not (fault and fault.reason == KILLED and not fault.traceback)


def _same_outcomes(
    recorded: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether two tables agree in what must not change of an iteration that is over."""
    return len(recorded) == len(found) and all(
        _outcome(before) == _outcome(now)
        and before.get("races", now["races"]) == now["races"]  # older versions did not count them
        for before, now in zip(recorded, found, strict=True)
    )


def _outcome(item: Mapping[str, Any]) -> tuple[Any, ...]:
    fitness = item.get("fitness") or {}
    return item.get("candidate"), item.get("status"), fitness.get("mean"), fitness.get("seeds")


def _readable(request: Request) -> str:
    parts = [f"<!-- {message.role} -->\n\n{message.content}" for message in request.messages]
    return "\n\n".join(parts)
