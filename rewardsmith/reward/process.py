"""The trusted end of a reward process: start it, feed it, check what it says, kill it."""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import rewardsmith
from rewardsmith.errors import SandboxUnavailable
from rewardsmith.reward import dialect, lockdown, reasons, wire
from rewardsmith.reward.failure import RewardFailure
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import FloatArray, RewardFunction, Rewards, TransitionLayout

LIMIT = 1e6
"""Largest magnitude of a reward or a component."""
SUM_TOLERANCE = 1e-6
"""How far components may miss the reward, relative to the largest of them (at least 1)."""
START_TIMEOUT_S = 30.0
LOAD_TIMEOUT_S = 10.0

_BOOT = (
    "import sys; sys.path.extend(sys.argv[3:]); from rewardsmith.reward import server; "
    "server.main(int(sys.argv[1]), int(sys.argv[2]))"
)
_F_ADD_SEALS = 1033
_SEAL_INPUT = 0x1 | 0x2 | 0x4 | 0x10  # no new seals, no shrinking, no growing, no future writing
_SEAL_OUTPUT = 0x1 | 0x2 | 0x4


class RewardProcess:
    """One locked-down child that evaluates one reward function.

    Use it as a context manager. Not safe for several threads. The child dies with the thread
    that started it.

    Examples:
        >>> from rewardsmith.types import Field, TransitionLayout
        >>> layout = TransitionLayout((Field("speed", "observation[0]", 0, 1, scalar=True),), 1, 1)
        >>> source = '''
        ... def compute_reward(state, action, next_state):
        ...     fast = next_state["speed"] * 2.0
        ...     return fast, {"fast": fast}
        ... '''
        >>> limits = SandboxSettings(
        ...     allow_weaker=True, deadline_s=2, memory_mib=1024, cpu_s=60, batch_rows=64
        ... )
        >>> with RewardProcess(layout, limits) as process:
        ...     process.load(RewardFunction(source))
        ...     rewards = process.evaluate(np.zeros((2, 1)), np.zeros((2, 1)), np.ones((2, 1)))
        >>> rewards.total.tolist(), rewards.names
        ([2.0, 2.0], ('fast',))
    """

    def __init__(
        self, layout: TransitionLayout, limits: SandboxSettings, *, wait: bool = True
    ) -> None:
        """Start the child and wait until it is locked.

        Args:
            layout: of the transitions.
            limits: of the child.
            wait: False leaves the waiting to `load`, so that several children can start at once.

        Raises:
            SandboxUnavailable: a layer is missing and `limits.allow_weaker` is not set.
        """
        self.layout = layout
        self.limits = limits
        self.layers: tuple[str, ...] = ()
        self.names: tuple[str, ...] = ()
        self._source = ""
        self._locked = False
        self._open_memory()
        self._start()
        try:
            self._configure()
            if wait:
                self._wait_until_locked()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    # -- life -------------------------------------------------------------------------------

    def _open_memory(self) -> None:
        rows, layout = self.limits.batch_rows, self.layout
        size = wire.input_bytes(rows, layout.state_width, layout.action_width)
        self._input_fd = _shared_file(size)
        self._output_fd = _shared_file(wire.output_bytes(rows))
        self._input = mmap.mmap(self._input_fd, size)
        self._output = mmap.mmap(self._output_fd, wire.output_bytes(rows))
        _seal(self._input_fd, _SEAL_INPUT)
        _seal(self._output_fd, _SEAL_OUTPUT)
        numbers = np.frombuffer(self._input, dtype=np.float64)
        widths = [layout.state_width, layout.action_width, layout.state_width]
        blocks = np.split(numbers, np.cumsum([rows * width for width in widths])[:-1])
        self._blocks = [
            block.reshape(rows, width) for block, width in zip(blocks, widths, strict=True)
        ]
        results = np.frombuffer(self._output, dtype=np.float64, offset=wire.HEADER_BYTES)
        self._results = results.reshape(1 + wire.MAX_COMPONENTS, rows)

    def _start(self) -> None:
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        roots = [str(Path(module.__file__).parents[1]) for module in (rewardsmith, np)]  # type: ignore[arg-type]
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", _BOOT, str(requests), str(answers), *roots],
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(requests, answers, self._input_fd, self._output_fd),
            start_new_session=True,
        )
        for descriptor in (requests, answers):
            os.close(descriptor)
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)

    def _configure(self) -> None:
        config = {
            "parent": os.getpid(),
            "rows": self.limits.batch_rows,
            "state_width": self.layout.state_width,
            "action_width": self.layout.action_width,
            "fields": [
                (item.name, item.start, item.stop, item.scalar) for item in self.layout.fields
            ],
            "input": self._input_fd,
            "output": self._output_fd,
            "memory_mib": self.limits.memory_mib,
            "cpu_s": self.limits.cpu_s,
        }
        text = json.dumps(config).encode()
        self._send(wire.LOAD, len(text), text)

    def _wait_until_locked(self) -> None:
        kind, bits = self._receive(START_TIMEOUT_S)
        if kind != wire.READY:
            raise RewardFailure("protocol")
        names = enumerate(lockdown.LAYERS)
        self.layers = tuple(name for place, name in names if bits & (1 << place))
        self._check_layers()
        self._locked = True

    def _check_layers(self) -> None:
        needed = [name for name in lockdown.LAYERS if name != "landlock"]  # best effort
        missing = [name for name in needed if name not in self.layers]
        if missing and not self.limits.allow_weaker:
            raise SandboxUnavailable(
                f"This machine cannot lock a reward process down: {', '.join(missing)} missing. "
                "Run on Linux (x86_64 or aarch64) with seccomp, or accept weaker protection "
                "against generated code with sandbox.allow_weaker=true."
            )

    def close(self) -> None:
        """Kill the child and free everything; may be called twice."""
        if self._child.returncode is None:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()
        for name in ("_requests", "_answers", "_input_fd", "_output_fd"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)

    def __enter__(self) -> RewardProcess:
        """Give itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    # -- use --------------------------------------------------------------------------------

    def load(self, reward: RewardFunction) -> None:
        """Hand the source over; it is checked against the dialect and compiled.

        Raises:
            RewardFailure: the source is rejected.
        """
        if not self._locked:
            self._wait_until_locked()
        self._source, self.names = reward.source, ()
        if len(reward.source) > dialect.MAX_LENGTH:  # so that it fits into a pipe: no blocking
            raise RewardFailure("too_long")
        text = reward.source.encode(errors="replace")
        self._send(wire.LOAD, len(text), text)
        try:
            self._finish(LOAD_TIMEOUT_S)
        except RewardFailure as failure:
            raise RewardFailure("parser_crash") if failure.reason == "died" else failure from None

    def evaluate(self, state: FloatArray, action: FloatArray, next_state: FloatArray) -> Rewards:
        """Compute the rewards of N transitions.

        Args:
            state: (N, W) records before the step.
            action: (N, A).
            next_state: (N, W) records after the step.

        Returns:
            The rewards, finite, at most 1e6 in magnitude, with components that sum to them.

        Raises:
            RewardFailure: the reward broke the contract, took too long, or its process died.
        """
        rows, count = self.limits.batch_rows, len(action)
        if 0 < count <= rows:
            values = self._evaluate(state, action, next_state)
        else:
            parts = [np.empty((1 + len(self.names), 0))] if not count else []
            for at in range(0, count, rows):
                here = slice(at, at + rows)
                parts.append(self._evaluate(state[here], action[here], next_state[here]))
            values = np.concatenate(parts, axis=1)
        return Rewards(values[0], values[1:], self.names)

    def _evaluate(
        self, state: FloatArray, action: FloatArray, next_state: FloatArray
    ) -> FloatArray:
        count = len(action)
        for block, values in zip(self._blocks, (state, action, next_state), strict=True):
            block[:count] = values
        self._send(wire.EVALUATE, count)
        components = self._finish(self.limits.deadline_s)
        if not self.names:
            self.names = self._read_names(components)
        elif components != len(self.names):
            raise self._failure("components_changed")
        results = self._results[: 1 + components, :count].copy()  # copy first, then check
        self._check_values(results)
        return results

    def _check_values(self, values: FloatArray) -> None:
        """Check rewards and components, (1 + K, N)."""
        sizes = np.abs(values)
        largest = float(np.maximum.reduce(sizes, axis=None))  # NaN if there is one
        if not largest <= LIMIT:
            self._raise_bad_values(sizes)
        gaps = np.add.reduce(values[1:], axis=0) - values[0]
        gap = float(np.maximum.reduce(np.abs(gaps)))
        if gap > SUM_TOLERANCE * max(1.0, largest):
            raise self._failure("wrong_sum", gap=gap)

    def _raise_bad_values(self, sizes: FloatArray) -> None:
        for test, reason in ((~np.isfinite(sizes), "not_finite"), (sizes > LIMIT, "too_large")):
            bad = test.sum(axis=1)
            if bad.any():
                row = int(np.argmax(bad[1:] > 0)) + 1 if bad[1:].any() else 0
                what = f"Component `{self.names[row - 1]}`" if row else "The reward"
                raise self._failure(reason, what=what, rows=int(bad[row]), total=sizes.shape[1])

    def _read_names(self, count: int) -> tuple[str, ...]:
        if not 0 < count <= wire.MAX_COMPONENTS:
            raise self._failure("protocol")
        raw = bytes(self._output[wire.NAMES_AT : wire.NAMES_AT + count * wire.NAME_BYTES])
        names = tuple(
            raw[at : at + wire.NAME_BYTES].rstrip(b"\0").decode("ascii", errors="replace")
            for at in range(0, len(raw), wire.NAME_BYTES)
        )
        good = all(wire.COMPONENT_NAME.fullmatch(name) for name in names)
        if not good or len(set(names)) < count:
            raise self._failure("component_name")
        return names

    # -- tokens -----------------------------------------------------------------------------

    def _send(self, kind: int, argument: int, text: bytes = b"") -> None:
        try:
            data = wire.TOKEN.pack(kind, argument) + text
            while data:
                data = data[os.write(self._requests, data) :]
        except OSError:
            raise self._failure("died") from None

    def _receive(self, timeout_s: float) -> tuple[int, int]:
        end = time.monotonic() + timeout_s
        data = b""
        while len(data) < wire.TOKEN.size:
            left = end - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000.0):
                self.close()
                raise self._failure("deadline", deadline_s=timeout_s)
            part = os.read(self._answers, wire.TOKEN.size - len(data))
            if not part:
                self.close()
                raise self._failure("died")
            data += part
        kind, argument = wire.TOKEN.unpack(data)
        return kind, argument

    def _finish(self, timeout_s: float) -> int:
        """Wait for the answer to a request; give its argument."""
        kind, argument = self._receive(timeout_s)
        if kind == wire.DONE:
            return argument
        if kind == wire.FAILED:
            raise self._reported_failure()
        raise self._failure("protocol")

    def _reported_failure(self) -> RewardFailure:
        number, exception, *place, component, _ = wire.FAULT.unpack(
            bytes(self._output[: wire.FAULT.size])
        )
        if not 0 <= number < len(reasons.REASONS) or reasons.REASONS[number] in reasons.MEASURED:
            return self._failure("protocol")
        name = reasons.EXCEPTIONS[exception] if 0 <= exception < len(reasons.EXCEPTIONS) else ""
        return self._failure(
            reasons.REASONS[number],
            tuple(place),
            exception=name or "exception",
            component=component + 1 if 0 <= component < wire.MAX_COMPONENTS else "?",
        )

    def _failure(
        self, reason: str, place: tuple[int, ...] = (0, 0, 0, 0), **details: object
    ) -> RewardFailure:
        known = {
            "fields": ", ".join(item.name for item in self.layout.fields),
            "memory_mib": self.limits.memory_mib,
            "deadline_s": self.limits.deadline_s,
            "exception": "exception",
            "component": "?",
        }
        return RewardFailure(reason, self._source, place, **{**known, **details})  # type: ignore[arg-type]


def _shared_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("rewardsmith", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:  # no memfd outside Linux: an unlinked file, without seals
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def _seal(descriptor: int, seals: int) -> None:
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(descriptor, _F_ADD_SEALS, seals)
