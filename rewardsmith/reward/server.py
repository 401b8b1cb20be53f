"""The reward process: the only place where generated code is executed.

Started by `rewardsmith.reward.process` as a fresh, isolated interpreter. It imports numpy, maps
its memory, locks itself down (`rewardsmith.reward.lockdown`), and only then receives the source,
checks it against the dialect, and answers batches of transitions with rewards.
"""

from __future__ import annotations

import os

os.environ.update(
    dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)  # before numpy is imported, or it starts threads that the lock could not hold

import ast  # noqa: E402
import builtins  # noqa: E402
import contextlib  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import mmap  # noqa: E402
import types  # noqa: E402
import unicodedata  # noqa: E402, F401 - the parser imports it at the first name beyond ASCII
import warnings  # noqa: E402
from typing import Any, NoReturn  # noqa: E402

import numpy as np  # noqa: E402

from rewardsmith.reward import allowed, dialect, lockdown, reasons, wire  # noqa: E402

_FILENAME = "<reward>"


class Refused(Exception):
    """The reward function failed for a known reason.

    Attributes:
        reason: a key of `reasons`.
        component: which component, -1 for none.
    """

    def __init__(self, reason: str, component: int = -1) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason
        self.component = component


class Frozen:
    """A namespace whose members cannot be replaced."""

    def __init__(self, members: dict[str, Any]) -> None:
        """Take the members once."""
        self.__dict__.update(members)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse."""
        raise AttributeError(name)


def numpy_namespace() -> Frozen:
    """The ``np`` of a reward: the allowed functions and nothing that leads out of them."""
    names = allowed.NUMPY_FUNCTIONS | allowed.NUMPY_CONSTANTS | allowed.NUMPY_TYPES
    members = {name: getattr(np, name) for name in names if hasattr(np, name)}
    members["linalg"] = Frozen({name: getattr(np.linalg, name) for name in allowed.NUMPY_LINALG})
    return Frozen(members)


def math_namespace() -> Frozen:
    """The ``math`` of a reward."""
    names = allowed.MATH_FUNCTIONS | allowed.MATH_CONSTANTS
    return Frozen({name: getattr(math, name) for name in names})


def bounded_range(*arguments: int) -> range:
    """``range`` with an end in sight."""
    result = range(*arguments)
    if len(result) > 100_000:
        raise ValueError
    return result


def frozen(value: Any) -> Any:
    """A constant of the top level in a form that cannot be changed.

    Raises:
        Refused: there is no such form; iterators, for one, remember how far they came.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        value.setflags(write=False)
        return value
    if isinstance(value, (list, tuple)):
        return tuple(frozen(item) for item in value)
    if isinstance(value, dict):
        return types.MappingProxyType({key: frozen(item) for key, item in value.items()})
    if isinstance(value, np.generic) and value.dtype.kind not in "fiub":
        raise Refused("constant_kind")  # a record is a view that can be written to
    if value is None or isinstance(value, (bool, int, float, str, range, np.generic)):
        return value
    if isinstance(value, types.FunctionType):
        return value
    raise Refused("constant_kind")


class Server:
    """One reward function and the memory that it works on."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Map the memories and describe the fields; nothing generated is here yet."""
        self.rows: int = config["rows"]
        width, action_width = config["state_width"], config["action_width"]
        fields = [tuple(item) for item in config["fields"]]
        self.field_names = frozenset(name for name, *_ in fields)
        shared = _map(config["input"], wire.input_bytes(self.rows, width, action_width), False)
        numbers = np.frombuffer(shared, dtype=np.float64)
        sizes = [self.rows * width, self.rows * action_width, self.rows * width]
        state, action, next_state = np.split(numbers, np.cumsum(sizes)[:-1])
        self.action = action.reshape(self.rows, action_width)
        self.state = _views(state.reshape(self.rows, width), fields)
        self.next_state = _views(next_state.reshape(self.rows, width), fields)
        self.output = _map(config["output"], wire.output_bytes(self.rows), True)
        results = np.frombuffer(self.output, dtype=np.float64, offset=wire.HEADER_BYTES)
        self.results = results.reshape(1 + wire.MAX_COMPONENTS, self.rows)
        self.names: list[str] = []
        self.reward: Any = None
        self.globals: dict[str, Any] = {}
        self.batch: tuple[Any, Any, Any] = ({}, None, {})
        self.batch_count = 0

    def load(self, source: str) -> int:
        """Check, compile and run the definitions."""
        self.reward, self.names = None, []
        tree = dialect.parse(source, self.field_names)
        known = {name: getattr(builtins, name) for name in allowed.BUILTIN_FUNCTIONS}
        known["range"] = bounded_range
        self.globals = {
            "__builtins__": known,
            "np": numpy_namespace(),
            "math": math_namespace(),
        }
        exec(_compiled(tree), self.globals)
        for name, value in self.globals.items():
            if name not in ("__builtins__", "np", "math"):
                try:
                    self.globals[name] = frozen(value)
                except (Refused, RecursionError):  # the latter: a list that holds itself
                    place = _assignment(tree, name)
                    raise dialect.Violation("constant_kind", place) from None
        self.reward = self.globals[dialect.ENTRY]
        return 0

    def evaluate(self, count: int) -> int:
        """Call the reward on the first `count` rows; give the number of components."""
        if not 0 < count <= self.rows or self.reward is None:
            raise Refused("protocol")
        state, action, next_state = self._batch(count)
        answer = self.reward(dict(state), action, dict(next_state))
        if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], dict):
            raise Refused("not_a_pair")
        total, components = answer
        names = self._component_names(components)
        results = self.results[:, :count]
        results[0] = _column(total, count, "reward_shape")
        for place, name in enumerate(names):
            results[1 + place] = _column(components[name], count, "component_shape", place)
        return len(names)

    def _batch(self, count: int) -> tuple[Any, Any, Any]:
        """Views of the first `count` rows; the last ones are kept, since sizes repeat."""
        if count != self.batch_count:
            self.batch = (
                {name: view[:count] for name, view in self.state.items()},
                self.action[:count],
                {name: view[:count] for name, view in self.next_state.items()},
            )
            self.batch_count = count
        return self.batch

    def _component_names(self, components: dict[Any, Any]) -> list[str]:
        names = list(components)
        if not names:
            raise Refused("no_components")
        if len(names) > wire.MAX_COMPONENTS:
            raise Refused("too_many_components")
        if names == self.names:
            return names
        if any(
            not isinstance(name, str) or not wire.COMPONENT_NAME.fullmatch(name) for name in names
        ):
            raise Refused("component_name")
        if not self.names:
            self.names = names
            text = b"".join(name.encode().ljust(wire.NAME_BYTES, b"\0") for name in names)
            self.output[wire.NAMES_AT : wire.NAMES_AT + len(text)] = text
        elif set(names) != set(self.names):
            raise Refused("components_changed")
        return self.names

    def report(self, error: BaseException) -> None:
        """Put a failure into the header, as numbers."""
        reason, exception, component, place = _explain(error)
        fault = wire.FAULT.pack(
            reasons.NUMBERS[reason], reasons.EXCEPTIONS.index(exception), *place, component, 0
        )
        self.output[: len(fault)] = fault


def _compiled(tree: ast.Module) -> types.CodeType:
    """Compile; what only the compiler minds, such as a stray `break`, is a rejection as well."""
    try:
        return compile(tree, _FILENAME, "exec")
    except SyntaxError as error:
        raise dialect.Violation("syntax", line=error.lineno or 0) from None
    except (ValueError, RecursionError, MemoryError):
        raise dialect.Violation("too_complex") from None


def _assignment(tree: ast.Module, name: str) -> ast.stmt | None:
    """The last statement of the top level that binds a name."""
    found = None
    for statement in tree.body:
        stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
        if any(node.id == name and isinstance(node.ctx, ast.Store) for node in stored):
            found = statement
    return found


def _map(descriptor: int, size: int, writable: bool) -> mmap.mmap:
    access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    memory = mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED, prot=access)
    os.close(descriptor)
    return memory


def _views(records: np.ndarray, fields: list[Any]) -> dict[str, np.ndarray]:
    return {
        name: records[:, start] if scalar else records[:, start:stop]
        for name, start, stop, scalar in fields
    }


def _column(value: Any, count: int, reason: str, component: int = -1) -> np.ndarray:
    if (
        not isinstance(value, np.ndarray)
        or value.shape != (count,)
        or value.dtype.kind not in "fiub"
    ):
        raise Refused(reason, component)
    return value


def _explain(error: BaseException) -> tuple[str, str, int, tuple[int, int, int, int]]:
    """Reason, exception name, component and place of a failure."""
    if isinstance(error, dialect.Violation):
        return error.reason, "exception", -1, error.place
    if isinstance(error, Refused):
        return error.reason, "exception", error.component, (0, 0, 0, 0)
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILENAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    kind = type(error).__name__
    known = kind if kind in reasons.EXCEPTIONS else "exception"
    return _classify(error), known, -1, (line, 0, line, 0)


def _classify(error: BaseException) -> str:
    """A reason for an exception that numpy or Python raised."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, RecursionError):
        return "python_recursion"
    if isinstance(error, KeyError):
        return "missing_key"
    if isinstance(error, (np.exceptions.AxisError, IndexError)):
        return "axis"
    text = str(error) if isinstance(error, (ValueError, TypeError)) else ""
    if "truth value" in text:
        return "array_truth"
    if "read-only" in text or "item assignment" in text:
        return "read_only"
    if "broadcast" in text or "core dimension" in text or "same shape" in text:
        return "broadcast"
    return "exception"


def warm_up() -> None:
    """Use what numpy imports or caches on first use; behind the lock it could not."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    values = np.arange(12.0).reshape(4, 3)
    for name in ("sum", "prod", "min", "max", "mean", "std", "var", "any", "all", "argmax"):
        method = getattr(values, name)
        method(axis=0)
        method()
    for operation in (
        lambda: values.clip(0.0, 1.0),
        lambda: values.astype(float).round().cumsum().tolist(),
        lambda: values @ values.T,
        lambda: np.linalg.norm(values, axis=-1, keepdims=True) + np.linalg.det(np.eye(3)),
        lambda: np.einsum("ij,ij->i", values, values) + np.median(values, axis=1),
        lambda: np.percentile(values, 50) + np.quantile(values, 0.5) + np.average(values),
        lambda: np.select([values > 1], [values], 0.0) + np.where(values > 1, values, 0.0),
        lambda: np.unwrap(values[:, 0]) + np.interp(values[:, 0], [0.0, 1.0], [0.0, 1.0]),
        lambda: np.nan_to_num(values) + np.nanmean(values) + np.cross(values, values),
        lambda: np.stack([values, values], axis=1).squeeze() + np.tile(values, 1)[:, None],
        lambda: repr(values) + str(values[0]) + format(values[0, 0], ".3g"),
        lambda: values + np.zeros((2, 5)),
        lambda: bool(values > 1),
        lambda: values.sum(axis=7),
        lambda: values[99],
    ):
        with contextlib.suppress(ValueError, IndexError):  # the failures are warmed up too
            operation()


class Channel:
    """The two pipes to the trusted side."""

    def __init__(self, requests: int, answers: int) -> None:
        """Take the descriptors."""
        self.requests, self.answers = requests, answers

    def receive(self, size: int) -> bytes:
        """Read exactly `size` bytes; the parent's death ends the process."""
        parts = b""
        while len(parts) < size:
            part = os.read(self.requests, size - len(parts))
            if not part:
                os._exit(0)
            parts += part
        return parts

    def request(self) -> tuple[int, int]:
        """Read one token: what to do, and its argument."""
        kind, argument = wire.TOKEN.unpack(self.receive(wire.TOKEN.size))
        return kind, argument

    def answer(self, kind: int, argument: int) -> None:
        """Send one token."""
        os.write(self.answers, wire.TOKEN.pack(kind, argument))


def serve(server: Server, channel: Channel) -> NoReturn:
    """Answer requests for ever."""
    while True:
        kind, argument = channel.request()
        try:
            if kind == wire.LOAD:
                result = server.load(channel.receive(argument).decode())
            else:
                result = server.evaluate(argument)
        except BaseException as error:  # generated code may raise anything
            server.report(error)
            channel.answer(wire.FAILED, 0)
        else:
            channel.answer(wire.DONE, result)


def main(requests: int, answers: int) -> NoReturn:
    """Set up, lock, announce the layers in force, serve.

    Args:
        requests: descriptor to read requests from.
        answers: descriptor to write answers to.
    """
    channel = Channel(requests, answers)
    config = json.loads(channel.receive(channel.request()[1]))
    lockdown.die_with_parent(config["parent"])
    server = Server(config)
    warm_up()
    os.environ.clear()
    layers = lockdown.lock(config["memory_mib"], config["cpu_s"])
    channel.answer(wire.READY, sum(1 << lockdown.LAYERS.index(name) for name in layers))
    serve(server, channel)
