"""Programs drawn at random against the sandbox: what is let in, and if anything gets out.

Each program goes through the dialect's check. What is accepted is called in the production
namespace under an audit hook, without the lock; some of it again in a locked reward process. Some
of all, and programs that say plainly what they want, are run in a locked reward process whose
dialect is switched off. ``tests/reward/oracle.py`` and ``tests/reward/audit.py`` say what must
hold.

Usage: ``PYTHONPATH=. python benchmarks/fuzz_sandbox.py --minutes 7 [--seed N] [--add]``. Without a
seed it takes a new one and prints it; ``--add`` adds to the results of earlier calls.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from typing import Any

from common import FOLDER, write

from tests.reward.audit import Audit
from tests.reward.conftest import OBJECT
from tests.reward.oracle import Oracle
from tests.reward.programs import hostile, program

CHECKED_SHARE, UNCHECKED_SHARE = 0.3, 0.03
"""Of accepted programs that are run in a locked process too; of all programs that are run in one
without a dialect."""


class Campaign:
    """Counts, and what was found."""

    def __init__(self, seed: int) -> None:
        """Begin at zero."""
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.found: list[dict[str, Any]] = []

    def run(self, minutes: float, most: int) -> None:
        """Draw and judge programs until the time is over."""
        end = time.monotonic() + 60.0 * minutes
        with Audit(OBJECT) as audit, Oracle() as oracle:
            for number in range(most):
                if time.monotonic() > end:
                    break
                self._one(number, audit, oracle)
            self.counts["peak_mib"] = oracle.peak >> 20

    def _one(self, number: int, audit: Audit, oracle: Oracle) -> None:
        rng = random.Random(f"{self.seed}:{number}")
        drawn = program(rng)
        verdict = audit.judge(drawn.source)
        self.counts["programs"] += 1
        self.counts[f"validator_{verdict.outcome}"] += 1
        self.reasons[verdict.reason or verdict.outcome] += 1
        for event in verdict.events:
            self._found(number, f"audit: {event}", drawn.source)
        if verdict.outcome != "rejected" and rng.random() < CHECKED_SHARE:
            outcome = self._locked(number, oracle, drawn.source, dialect_on=True)
            if outcome == "rejected" and not verdict.reason and verdict.outcome == "accepted":
                self._found(number, "rejected inside the lock only", drawn.source)
        if rng.random() < UNCHECKED_SHARE:
            self._locked(number, oracle, drawn.source, dialect_on=False)
        if rng.random() < UNCHECKED_SHARE:
            self._locked(number, oracle, hostile(rng).source, dialect_on=False)

    def _locked(self, number: int, oracle: Oracle, source: str, *, dialect_on: bool) -> str:
        before = len(oracle.breaches)
        outcome = oracle.judge(source, dialect_on=dialect_on)
        self.counts["executed"] += 1
        self.counts[f"{'checked' if dialect_on else 'unchecked'}_{outcome}"] += 1
        for breach in oracle.breaches[before:]:
            self._found(number, breach.split("\n")[0], source)
        return outcome

    def _found(self, number: int, what: str, source: str) -> None:
        print(f"{self.seed}:{number}: {what}", flush=True)
        self.counts["findings"] += 1
        self.found.append({"program": f"{self.seed}:{number}", "what": what, "source": source})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--programs", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--add", action="store_true")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    campaign = Campaign(seed)
    campaign.run(options.minutes, options.programs)
    seeds, counts, reasons, found = [seed], campaign.counts, campaign.reasons, campaign.found
    file = FOLDER / "results" / "fuzz_sandbox.json"
    if options.add and file.exists():
        old = json.loads(file.read_text())
        peak = max(counts.pop("peak_mib"), old["headline"].pop("peak_mib", 0))
        counts.update(old["headline"])
        counts["peak_mib"] = peak
        reasons.update(old["reasons"])
        seeds, found = [*old["seeds"], seed], [*old["found"], *found]
    for name in ("findings", "validator_crashed", "checked_died", "unchecked_raised"):
        counts.setdefault(name, 0)
    headline = dict(sorted(counts.items()))
    write("fuzz_sandbox", headline, seeds=seeds, reasons=dict(reasons.most_common()), found=found)
    print(json.dumps(headline, indent=2))


if __name__ == "__main__":
    main()
