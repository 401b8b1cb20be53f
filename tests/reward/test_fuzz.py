"""Programs drawn at random: nothing accepted asks for anything, nothing run gets out.

`benchmarks/fuzz_sandbox.py` and `benchmarks/fuzz_dialect.py` do the same for longer.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewardsmith.reward import process as reward_process
from rewardsmith.reward.process import RewardProcess
from tests.reward import oracle as oracles
from tests.reward.audit import Audit
from tests.reward.conftest import GOOD, OBJECT, body
from tests.reward.fragments import seeds
from tests.reward.oracle import Oracle
from tests.reward.programs import hostile, program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the lock needs Linux")

PROFILE = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}
CHANCE = st.randoms(use_true_random=False)


@pytest.fixture(scope="module")
def audit() -> Iterator[Audit]:
    with Audit(OBJECT) as running:
        yield running


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as running:
        yield running


# -- the dialect and the namespace, without the lock ----------------------------------------------


@pytest.mark.slow
@settings(max_examples=300, **PROFILE)
@given(rng=CHANCE)
def test_nothing_accepted_asks_for_anything(audit: Audit, rng: object) -> None:
    drawn = program(rng)  # type: ignore[arg-type]
    verdict = audit.judge(drawn.source)
    assert verdict.events == (), drawn
    assert verdict.outcome != "crashed", drawn


@pytest.mark.parametrize("source", seeds())
def test_stored_snippets_ask_for_nothing(audit: Audit, source: str) -> None:
    assert audit.judge(source).events == ()


def test_the_audit_hears_what_is_let_through() -> None:
    """The positive control: with `open` among the allowed functions it says so."""
    weakened = (
        "from rewardsmith.reward import allowed; import sys\n"
        "allowed.BUILTIN_FUNCTIONS |= {'open', 'exec'}\n"
        "from tests.reward import audit\naudit.main()"
    )
    real = subprocess.Popen

    def start(command: list[str], **options: object) -> object:
        return real([*command[:2], "-c", weakened, command[-1]], **options)  # type: ignore[call-overload]

    with Audit(OBJECT) as audit, mock.patch("tests.reward.audit.subprocess.Popen", start):
        heard = audit.judge(body("x = open(99)")).events
        silent = audit.judge(GOOD)
    assert heard and heard[0].startswith("open")
    assert (silent.outcome, silent.reason, silent.events) == ("accepted", "", ())


def test_the_audit_notices_a_memory_of_earlier_calls() -> None:
    weakened = (
        "from rewardsmith.reward import server\nserver.frozen = lambda value: value\n"
        "from tests.reward import audit\naudit.main()"
    )
    real = subprocess.Popen

    def start(command: list[str], **options: object) -> object:
        return real([*command[:2], "-c", weakened, command[-1]], **options)  # type: ignore[call-overload]

    counter = "TABLE = np.zeros(1)\n" + body(
        "table = TABLE",
        "table[0] = table[0] + 1",
        "total = total + table[0]",
        'parts = {"a": total}',
    )
    with Audit(OBJECT) as audit, mock.patch("tests.reward.audit.subprocess.Popen", start):
        assert audit.judge(counter).events == ("memory of an earlier call",)


# -- the lock -------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=120, **PROFILE)
@given(rng=CHANCE)
def test_nothing_drawn_gets_out(oracle: Oracle, rng: object) -> None:
    drawn = program(rng)  # type: ignore[arg-type]
    oracle.breaches.clear()
    oracle.judge(drawn.source, dialect_on=True)
    assert oracle.breaches == [], drawn


@pytest.mark.slow
@settings(max_examples=60, **PROFILE)
@given(rng=CHANCE)
def test_nothing_hostile_gets_out_without_the_dialect(oracle: Oracle, rng: object) -> None:
    drawn = hostile(rng)  # type: ignore[arg-type]
    oracle.breaches.clear()
    oracle.judge(drawn.source, dialect_on=False)
    assert oracle.breaches == [], drawn


LEAKS = {
    "a file changed": "open(FOLDER + '/made', 'w').write('x')",
    "a listener heard": "socket.create_connection(('127.0.0.1', PORT), 1).send(b'x')",
    "children": "subprocess.Popen(['/bin/sleep', '3'])",
    "not Threads": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "the key was read": (
        "total = np.frombuffer(open(KEY_FILE, 'rb').read(), dtype=np.uint8)[:24] * 1.0; "
        "parts = {'a': total}"
    ),
}


@pytest.mark.parametrize("breach", LEAKS)
def test_the_oracle_sees_what_gets_out_of_an_open_process(
    breach: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control: the same launcher, with the lock left open."""
    opened = (
        "\nfrom rewardsmith.reward import lockdown"
        "\nlockdown.lock = lambda *limits: list(lockdown.LAYERS)\nserver.main("
    )
    boot = oracles.attacks.BOOT.replace("\nserver.main(", opened)
    monkeypatch.setattr(oracles.attacks, "BOOT", boot)
    with Oracle() as oracle:
        oracle.judge(body(LEAKS[breach]), dialect_on=False)
    assert any(item.startswith(breach) for item in oracle.breaches), oracle.breaches


def test_the_oracle_sees_a_neighbour_that_answers_otherwise() -> None:
    with Oracle() as oracle:
        oracle._expected = b""
        oracle.judge(GOOD, dialect_on=True)
    assert [item.split("\n")[0] for item in oracle.breaches] == ["the neighbour answers otherwise"]


def test_the_launcher_under_test_is_the_one_of_production() -> None:
    production = reward_process._BOOT
    with Oracle() as oracle:
        oracle.judge(GOOD, dialect_on=False)
        assert production == reward_process._BOOT
        assert oracle.judge("import os\n" + GOOD, dialect_on=True) == "rejected"
        assert isinstance(oracle._running[True], RewardProcess)
