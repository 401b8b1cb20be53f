"""Records survive a round trip, and damage is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rewardsmith.errors import ProviderError, ResultsError
from rewardsmith.llm.exchanges import read_exchanges, write_exchange
from rewardsmith.llm.types import Reply, Request, Usage
from tests.llm.conftest import KEY

Make = Callable[..., Request]
REPLY = Reply("déf 🙂", "model-a", "length", Usage(1, 10, 20, None), 1.5, ("2 retries",))


def _write(run: Path, request: Request, reply: Reply | None = REPLY) -> Path:
    error = None if reply else ProviderError("it failed")
    folder = run / f"iteration_{request.iteration}"
    return write_exchange(folder, request, reply, error, "openai", {"temperature": 1.0})


def test_round_trip(tmp_path: Path, request_of: Make) -> None:
    request = request_of(3, attempt=2, iteration=4)
    path = _write(tmp_path, request)
    assert path == tmp_path / "iteration_4" / "exchange_3_2.json"
    assert read_exchanges(tmp_path) == {request.key: REPLY}


def test_the_record_holds_everything_a_reader_asks_for(tmp_path: Path, request_of: Make) -> None:
    record = json.loads(_write(tmp_path, request_of(1), reply=None).read_text("utf-8"))
    assert record["schema"] == 1
    assert (record["iteration"], record["candidate"], record["attempt"]) == (1, 1, 0)
    assert record["messages"][1] == {"role": "user", "content": "Write a reward."}
    assert record["provider"] == "openai"
    assert record["parameters"] == {"temperature": 1.0}
    assert record["reply"] is None
    assert record["error"] == {"type": "ProviderError", "text": "it failed"}
    assert record["timestamp"].endswith("+00:00")


def test_failed_exchanges_are_asked_again(tmp_path: Path, request_of: Make) -> None:
    _write(tmp_path, request_of(0), reply=None)
    assert read_exchanges(tmp_path) == {}


def test_the_earlier_of_two_equal_requests_counts(tmp_path: Path, request_of: Make) -> None:
    _write(tmp_path, request_of(0, iteration=10), Reply("tenth", "m"))
    _write(tmp_path, request_of(0, iteration=2), Reply("second", "m"))
    assert [reply.text for reply in read_exchanges(tmp_path).values()] == ["second"]


def test_nothing_but_whole_files_is_left(tmp_path: Path, request_of: Make) -> None:
    path = _write(tmp_path, request_of(0))
    _write(tmp_path, request_of(0))
    assert list(path.parent.iterdir()) == [path]


def test_a_half_of_a_surrogate_pair_does_no_harm(tmp_path: Path, request_of: Make) -> None:
    _write(tmp_path, request_of(0), Reply("\ud83d", "m"))
    assert next(iter(read_exchanges(tmp_path).values())).text == "\ud83d"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 1, "key": "k", "reply": {}}'])
def test_a_damaged_record_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "iteration_1" / "exchange_0_0.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ResultsError, match=r"exchange_0_0\.json is no record.*delete it"):
        read_exchanges(tmp_path)


def test_a_newer_format_is_told(tmp_path: Path) -> None:
    path = tmp_path / "iteration_1" / "exchange_0_0.json"
    path.parent.mkdir()
    path.write_text('{"schema": 99}')
    with pytest.raises(ResultsError, match="format 99, this version of rewardsmith reads 1"):
        read_exchanges(tmp_path)


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path, request_of: Make) -> None:
    (tmp_path / "iteration_1").write_text("a file in the way")
    with pytest.raises(ResultsError, match=r"cannot be written: "):
        _write(tmp_path, request_of(0))


def test_headers_and_keys_are_masked(tmp_path: Path, request_of: Make) -> None:
    parameters = {
        "extra_headers": {"X-Proxy": KEY},
        "extra_body": {"api_key": KEY, "max_tokens": 5},
        "stop": ["a", "b"],
    }
    path = write_exchange(tmp_path, request_of(0), REPLY, None, "openai", parameters)
    assert KEY not in path.read_text()
    assert json.loads(path.read_text())["parameters"] == {
        "extra_headers": "***",
        "extra_body": {"api_key": "***", "max_tokens": 5},
        "stop": ["a", "b"],
    }
