"""What becomes of requests when the network between a run and its provider fails.

Two hundred requests, eight in flight, go through a faulty proxy (`tests.llm.fault_proxy`) to a mock
of OpenAI's API that others wrote (aimock, which needs Node), for each of ten seeds:

- without a cap, then once more as a resumed run over a network that works: every request must have
  been answered or reported in one sentence, and what was answered must not be asked again;
- with a cap that ends the money after about half of them, then once more as a resumed run: what the
  provider has answered, by its own journal and so at its own price, must not pass the cap.

`--quick` takes one seed and writes nothing.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import write

from rewardsmith.llm.types import Reply
from tests.llm import storm
from tests.llm.storm import REQUESTS, USD, Outcome

SEEDS = range(10)
CAP = 0.6 * REQUESTS * USD


def main() -> None:
    """Measure, print and write."""
    quick = "--quick" in sys.argv
    rows: list[dict[str, Any]] = []
    faults: Counter[str] = Counter()
    for seed in SEEDS[:1] if quick else SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            rows += [uncapped(seed, Path(folder), faults), capped(seed, Path(folder), faults)]
        for row in rows[-2:]:
            print(row, flush=True)
    headline = totals(rows, faults)
    print(headline)
    if not quick:
        write("provider_faults", headline, faults=dict(faults.most_common()), rows=rows)


def uncapped(seed: int, folder: Path, faults: Counter[str]) -> dict[str, Any]:
    """A storm, and the same run resumed after it."""
    started = time.monotonic()
    run = folder / "uncapped"
    with storm.third_party(folder) as upstream, storm.proxied(upstream, seed) as proxy:
        first = storm.ask(proxy.url, run, max_usd=None)
        paid = upstream.billed()
        faults += _met(proxy.counts)
        proxy.faulty = False
        storm.ask(proxy.url, run, max_usd=None, timeout_s=30)
        again = upstream.billed() - paid
    return {
        "seed": seed,
        "cap": False,
        **_fates(first),
        "paid_twice_for_no_reason": sum(
            max(0, paid[index] - 1 - first.lost[index]) for index in first.answered
        ),
        "asked_again_though_answered": sum(again[index] for index in first.answered),
        "usd_of_the_provider": round(USD * sum(paid.values()), 4),
        "usd_of_our_account": round(first.spent, 4),
        "seconds": round(time.monotonic() - started, 1),
    }


def capped(seed: int, folder: Path, faults: Counter[str]) -> dict[str, Any]:
    """A storm in which the money ends, and the same run resumed."""
    started = time.monotonic()
    run = folder / "capped"
    with storm.third_party(folder) as upstream, storm.proxied(upstream, 1000 + seed) as proxy:
        first = storm.ask(proxy.url, run, CAP)
        second = storm.ask(proxy.url, run, CAP)
        faults += _met(proxy.counts)
        billed = USD * sum(upstream.billed().values())
    return {
        "seed": 1000 + seed,
        "cap": True,
        **_fates(first),
        "refused_for_want_of_money": len(first.refused),
        "asked_again_though_answered": len(first.answered - second.answered),
        "usd_of_the_cap": round(CAP, 4),
        "usd_of_the_provider": round(billed, 4),
        "usd_of_our_account": round(second.spent, 4),
        "seconds": round(time.monotonic() - started, 1),
    }


def totals(rows: list[dict[str, Any]], faults: Counter[str]) -> dict[str, float]:
    """The sums that matter."""
    capped_rows = [row for row in rows if row["cap"]]
    names = ("requests", "answered", "reported", "lost", "wrong", "asked_again_though_answered")
    return {
        **{name: sum(row[name] for row in rows) for name in names},
        "faults_met": sum(faults.values()),
        "paid_twice_for_no_reason": sum(row.get("paid_twice_for_no_reason", 0) for row in rows),
        "runs_with_a_cap": len(capped_rows),
        "runs_that_passed_the_cap": sum(
            row["usd_of_the_provider"] > row["usd_of_the_cap"] for row in capped_rows
        ),
        "most_of_the_cap_that_was_billed": max(
            row["usd_of_the_provider"] / row["usd_of_the_cap"] for row in capped_rows
        ),
    }


def _fates(outcome: Outcome) -> dict[str, int]:
    replies = enumerate(outcome.answers)
    return {
        "requests": REQUESTS,
        "answered": len(outcome.answered),
        "reported": len(outcome.reported),
        "lost": REQUESTS - len(outcome.answered | outcome.reported),
        "wrong": sum(isinstance(a, Reply) and a.text != f"reward {i}" for i, a in replies),
    }


def _met(counts: Counter[str]) -> Counter[str]:
    return Counter({name: count for name, count in counts.items() if name != "none"})


if __name__ == "__main__":
    main()
