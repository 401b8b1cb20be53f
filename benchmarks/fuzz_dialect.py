"""Coverage-guided fuzzing of the dialect's check with atheris (Linux; extra ``fuzz``).

Bytes become text, the text is checked, and what is accepted is called under the audit hook of
``tests/reward/audit.py``. It ends with a report of libFuzzer if the check raises anything but a
`Violation` with a known reason and a line of the text, or if something accepted asks Python for
anything. Half of the mutations are those of ``tests/reward/programs.py``: they know Python.

Usage: ``PYTHONPATH=. python benchmarks/fuzz_dialect.py FOLDER -max_total_time=600``, with any
option of libFuzzer. FOLDER keeps what reached new code; the stored snippets are put there first.
"""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["rewardsmith.reward.dialect"]):
    from rewardsmith.reward import dialect

from rewardsmith.reward import reasons
from tests.reward.audit import Audit
from tests.reward.conftest import OBJECT
from tests.reward.fragments import seeds
from tests.reward.mutations import mutated, scrambled
from tests.reward.programs import program

FIELDS = frozenset(item.name for item in OBJECT.fields)
TELL_EVERY = 2_000
LINE_END = re.compile(r"\r\n?|\n")

counts: Counter[str] = Counter()
audit = Audit(OBJECT)


def one(data: bytes) -> None:
    """Judge one input; an exception is a finding."""
    source = data.decode(errors="replace")
    counts["programs"] += 1
    if counts["programs"] % TELL_EVERY == 0:
        print(dict(sorted(counts.items())), flush=True)
    try:
        dialect.parse(source, FIELDS)
    except dialect.Violation as violation:
        counts["rejected"] += 1
        assert violation.reason in reasons.REASONS, violation.reason
        assert 0 <= violation.place[0] <= len(LINE_END.split(source)), violation.place
        return
    verdict = audit.judge(source)
    counts[verdict.outcome if verdict.outcome != "rejected" else "rejected_later"] += 1
    assert not verdict.events, verdict
    assert verdict.outcome != "crashed", verdict


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Change an input, as bytes or as a program."""
    rng = random.Random(seed)
    kind = rng.randrange(8)
    if kind < 4:
        return atheris.Mutate(data, most)
    text = data.decode(errors="replace")
    if kind == 7:
        text = program(rng).source
    else:
        text = mutated(rng, text) if kind < 6 else scrambled(rng, text)
    return text.encode(errors="replace")[:most]


def main() -> None:
    folders = [Path(item) for item in sys.argv[1:] if not item.startswith("-")]
    for folder in folders[:1]:
        folder.mkdir(parents=True, exist_ok=True)
        for number, source in enumerate(seeds()):
            (folder / f"seed{number:03}").write_text(source)
    atheris.Setup([sys.argv[0], "-max_len=16400", *sys.argv[1:]], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
