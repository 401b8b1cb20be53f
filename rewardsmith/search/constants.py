"""Find the numbers of a reward that may be varied, and write others in their place.

What may be varied: numbers that values are multiplied, divided, added to or compared with:
weights, rates, radii, offsets, limits. What stays:

- structure: indices and slices, exponents, ``axis=`` and other keyword arguments, shapes, counts
  and further arguments of functions that reduce or reshape, ``//`` and ``%``, comparisons with a
  shape or by ``==``, whole numbers in lists, and names that are used in any such place;
- 0, and 1 unless it is a factor (``1.0 * reach``) or a named float (``WEIGHT = 1.0``): in
  ``1.0 - np.tanh(x)`` or ``np.where(near, 1.0, 0.0)`` another number would mean something else;
- guards below 1e-5, as in ``x / (norm + 1e-8)``.

The source must have been accepted by the dialect before (in a reward process): the parser can be
crashed by hostile text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

GUARD = 1e-5
"""Numbers below this guard a division, they do not shape the reward."""

_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_STRUCTURAL_OPERATORS = (ast.Pow, ast.FloorDiv, ast.Mod, ast.MatMult)
_ELEMENTWISE = frozenset(
    """
    abs add arctan2 clip copysign divide float fmax fmin hypot logaddexp max maximum min minimum
    multiply subtract where
    """.split()
)
"""Calls whose arguments are all values; of others only the first is one."""
_VALUE_METHODS = frozenset({"append", "clip"})
_NO_VALUES = frozenset(
    "arange broadcast_to full linspace ones range repeat reshape round roll tile zeros".split()
)
_VALUE_KEYWORDS = frozenset({"a_max", "a_min", "fill_value", "x1", "x2"})
_SHAPES = frozenset({"ndim", "shape", "size"})


@dataclass(frozen=True)
class Constant:
    """A number that may be varied.

    Attributes:
        place: which of all the numbers in the source it is, from 0.
        value: always positive; a minus sign is an operator.
    """

    place: int
    value: float


def find_constants(source: str) -> list[Constant]:
    """The numbers that may be varied, in the order of the text.

    Examples:
        >>> text = "near = 2.0 * np.exp(-15 * np.linalg.norm(x[:, 3:6], axis=-1) ** 2) - 1.0"
        >>> [constant.value for constant in find_constants(text)]
        [2.0, 15.0]
    """
    tree = ast.parse(source)
    places = _Places(tree)
    return [
        Constant(place, _value(node))
        for place, node in enumerate(_literals(tree))
        if places.may_vary(node)
    ]


def all_numbers(source: str) -> list[float]:
    """Every number in the source, in the order of the text: `Constant.place` counts these."""
    return [_value(node) for node in _literals(ast.parse(source))]


def with_numbers(source: str, numbers: Mapping[int, float]) -> str:
    """Write numbers at their places; all else, comments included, stays as it is.

    Args:
        source: code of a reward.
        numbers: by `Constant.place`; they are rounded to four digits.

    Examples:
        >>> with_numbers("near = 10 * d  # steep", {0: 12.34567})
        'near = 12.35 * d  # steep'
    """
    literals = _literals(ast.parse(source))
    lines = source.encode().splitlines(keepends=True)  # breaks lines where the parser does
    for place in sorted(numbers, reverse=True):  # from the end, so that columns stay true
        node = literals[place]
        line, end = lines[node.lineno - 1], node.end_col_offset
        text = repr(float(f"{numbers[place]:.4g}")).encode()
        lines[node.lineno - 1] = line[: node.col_offset] + text + line[end:]
    return b"".join(lines).decode()


def _literals(tree: ast.AST) -> list[ast.Constant]:
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float)
    ]
    return sorted(found, key=lambda node: (node.lineno, node.col_offset))


def _value(node: ast.Constant) -> float:
    assert isinstance(node.value, (int, float))
    return float(node.value)


class _Places:
    """Judges where in a tree a number stands."""

    def __init__(self, tree: ast.AST) -> None:
        self._parents = {
            child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)
        }
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        self._functions = {node.name for node in functions}
        self._defaults = dict(pair for node in functions for pair in _defaults(node.args))
        self._structural = {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and self._fixed(node)
        }

    def may_vary(self, node: ast.Constant) -> bool:
        """Whether another number in its place would leave the meaning as it is."""
        value = _value(node)
        if value < GUARD or self._fixed(node) or self._names(node) & self._structural:
            return False
        operand, holder = self._operand(node)
        if isinstance(holder, ast.Tuple) and isinstance(self._parents[holder], ast.Assign):
            return False  # which name it goes by is not followed
        if value == 1.0:
            factor = isinstance(holder, ast.BinOp) and isinstance(holder.op, ast.Mult)
            named = isinstance(holder, (ast.Assign, ast.AnnAssign, ast.arguments, ast.Dict))
            return factor or (named and isinstance(node.value, float))
        return isinstance(node.value, float) or self._takes_whole(operand, holder)

    def _operand(self, node: ast.expr) -> tuple[ast.AST, ast.AST]:
        """The number with its sign, and what holds it."""
        current: ast.AST = node
        while isinstance(self._parents[current], ast.UnaryOp):
            current = self._parents[current]
        return current, self._parents[current]

    def _takes_whole(self, operand: ast.AST, holder: ast.AST) -> bool:
        """Whether a whole number in this place is a value like any other."""
        if isinstance(holder, (ast.BinOp, ast.AugAssign)):
            return isinstance(holder.op, _ARITHMETIC)
        if isinstance(holder, ast.Call):
            return operand in holder.args and _called(holder) not in self._functions
        plain = (ast.Assign, ast.AnnAssign, ast.arguments, ast.Dict, ast.Compare, ast.IfExp)
        return isinstance(holder, plain)

    def _names(self, node: ast.Constant) -> set[str]:
        """Names that this number goes by."""
        operand, holder = self._operand(node)
        if isinstance(holder, ast.arguments):
            return {self._defaults[operand]}
        if isinstance(holder, ast.Assign):
            return {item.id for item in holder.targets if isinstance(item, ast.Name)}
        if isinstance(holder, ast.Dict) and isinstance(table := self._parents[holder], ast.Assign):
            return {item.id for item in table.targets if isinstance(item, ast.Name)}
        if isinstance(holder, ast.AnnAssign) and isinstance(holder.target, ast.Name):
            return {holder.target.id}
        return set()

    def _fixed(self, node: ast.AST) -> bool:
        """Whether it stands, however deep, in a place that gives the code its structure."""
        while (holder := self._parents.get(node)) is not None:
            if self._is_structure(node, holder):
                return True
            if isinstance(holder, ast.stmt):
                return False
            node = holder
        return False

    def _is_structure(self, node: ast.AST, holder: ast.AST) -> bool:
        if isinstance(holder, ast.Subscript):
            return node is holder.slice
        if isinstance(holder, ast.BinOp):
            return isinstance(holder.op, _STRUCTURAL_OPERATORS) and node is holder.right
        if isinstance(holder, ast.AugAssign):
            return isinstance(holder.op, _STRUCTURAL_OPERATORS)
        if isinstance(holder, ast.Compare):
            return _mentions_shape(holder) or _tells_apart(holder)
        if isinstance(holder, ast.keyword):
            call = self._parents[holder]
            assert isinstance(call, ast.Call)
            own = _called(call) in self._functions
            return not own and holder.arg not in _VALUE_KEYWORDS
        if isinstance(holder, ast.Call):
            return not self._is_value(node, holder)
        return False

    def _is_value(self, node: ast.AST, call: ast.Call) -> bool:
        """Whether an argument of a call is a value; what is called is no argument."""
        name = _called(call)
        if node not in call.args or name in self._functions:
            return True
        if name in _NO_VALUES:
            return False
        if _is_method(call):
            return name in _VALUE_METHODS
        return name in _ELEMENTWISE or node is call.args[0]


def _called(call: ast.Call) -> str:
    """Last part of the name of what is called."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_method(call: ast.Call) -> bool:
    """``x.clip(0, 5)`` and the like, not ``np.clip`` or ``np.linalg.norm``."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if isinstance(owner, ast.Attribute):
        owner = owner.value if owner.attr == "linalg" else owner
    return owner is not None and getattr(owner, "id", "") not in ("np", "math")


def _mentions_shape(node: ast.Compare) -> bool:
    """Whether a comparison is about shapes or lengths."""
    return any(
        (isinstance(part, ast.Attribute) and part.attr in _SHAPES)
        or (isinstance(part, ast.Call) and _called(part) == "len")
        for part in ast.walk(node)
    )


def _tells_apart(node: ast.Compare) -> bool:
    """Whether numbers are labels here: ``stage == 2``."""
    return any(isinstance(operator, (ast.Eq, ast.NotEq)) for operator in node.ops)


def _defaults(arguments: ast.arguments) -> Iterator[tuple[ast.AST, str]]:
    """Default values with the names of their parameters."""
    positional = [*arguments.posonlyargs, *arguments.args]
    named: Sequence[ast.arg] = positional[len(positional) - len(arguments.defaults) :]
    yield from ((value, item.arg) for value, item in zip(arguments.defaults, named, strict=True))
    for item, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if value is not None:
            yield value, item.arg
