"""How alike two rewards are: by their code, and by what they say of the same transitions.

Reading the code needs Python's parser, which hostile text can crash. So it is only done for code
that a reward process has parsed and accepted before (`rewardsmith.reward.probe`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewardsmith.types import FloatArray


def normal_form(source: str, fields: Iterable[str]) -> str:
    r"""Give a text that is the same for rewards that differ only in wording.

    Names are numbered by first use, in each function on its own, and so are component names;
    comments, docstrings, annotations and imports are gone, and every number is a float. The order
    of statements and of terms counts.

    Args:
        source: accepted by a reward process.
        fields: names of the task's fields, which stay as they are.

    Examples:
        >>> first = 'def compute_reward(state, action, next_state):\n    a = 1\n    return a'
        >>> other = 'def compute_reward(state, action, next_state):\n    b = 1.0  # !\n    return b'
        >>> normal_form(first, ()) == normal_form(other, ())
        True
    """
    tree = ast.parse(source)
    return ast.dump(_Normalizer(tree, frozenset(fields)).visit(tree))


class _Scope:
    """Names that are bound in one function, and what they are called instead."""

    def __init__(self, depth: int, nodes: Iterable[ast.AST]) -> None:
        self._depth = depth
        self._names: dict[str, str | None] = dict.fromkeys(_bound(nodes))
        self._count = 0

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def rename(self, name: str) -> str:
        new = self._names[name]
        if new is None:
            new = self._names[name] = f"name_{self._depth}_{self._count}"
            self._count += 1
        return new


def _bound(nodes: Iterable[ast.AST]) -> list[str]:
    names, pending = [], list(nodes)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef):
            names.append(node.name)  # what is inside has a scope of its own
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        if isinstance(node, ast.arg):
            names.append(node.arg)
        pending.extend(ast.iter_child_nodes(node))
    return names


class _Normalizer(ast.NodeTransformer):
    """Rewrites a tree in place."""

    def __init__(self, tree: ast.Module, fields: frozenset[str]) -> None:
        self._fields = fields
        # an argument that is passed by its name keeps it, or it would no longer be the same one
        self._kept = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
        self._scopes = [_Scope(0, tree.body)]
        self._components: dict[str, str] = {}

    def _renamed(self, name: str) -> str:
        if name not in self._kept:
            for scope in reversed(self._scopes):
                if name in scope:
                    return scope.rename(name)
        return name

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802
        node.name, node.returns = self._renamed(node.name), None
        self._scopes.append(_Scope(len(self._scopes), [node.args, *node.body]))
        self.generic_visit(node)
        self._scopes.pop()
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self._renamed(node.arg))

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: N802
        return ast.Name(self._renamed(node.id), node.ctx)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:  # noqa: N802
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return ast.Constant(float(node.value))
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:  # noqa: N802
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else self.generic_visit(node)

    def visit_Pass(self, node: ast.Pass) -> None:  # noqa: N802
        return None

    def visit_Import(self, node: ast.Import) -> None:  # noqa: N802
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:  # noqa: N802
        return None

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:  # noqa: N802
        if node.value is None:
            return None
        return self.visit(ast.Assign([node.target], node.value))

    def visit_Dict(self, node: ast.Dict) -> ast.AST:  # noqa: N802
        node.keys = [key and self._key(key) for key in node.keys]
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:  # noqa: N802
        node.slice = self._key(node.slice)
        return self.generic_visit(node)

    def _key(self, node: ast.expr) -> ast.expr:
        key = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(key, str) or key in self._fields:
            return node
        number = len(self._components)
        return ast.Constant(self._components.setdefault(key, f"component_{number}"))


@dataclass(frozen=True)
class Likeness:
    """How alike what two rewards say of the same transitions is.

    Attributes:
        spearman: correlation of the ranks; 1 if they order all transitions alike.
        pearson: correlation of the values; 1 if one is a positive affine map of the other.
        scale: the larger standard deviation divided by the smaller.
        shift: difference of the means, each in standard deviations of its own reward.
    """

    spearman: float
    pearson: float
    scale: float
    shift: float


def likeness(first: FloatArray, second: FloatArray) -> Likeness:
    """Compare the rewards (N,) that two functions gave the same N transitions.

    A reward that is constant on them is like nothing, so its correlations are 0.
    """
    from scipy.stats import rankdata

    spreads = float(first.std()), float(second.std())
    sizes = float(np.abs(first).max(initial=0)), float(np.abs(second).max(initial=0))
    if any(spread <= 1e-9 * size for spread, size in zip(spreads, sizes, strict=True)):
        return Likeness(0.0, 0.0, np.inf, np.inf)
    return Likeness(
        spearman=_correlation(rankdata(first), rankdata(second)),
        pearson=_correlation(first, second),
        scale=max(spreads) / min(spreads),
        shift=abs(float(first.mean()) / spreads[0] - float(second.mean()) / spreads[1]),
    )


def _correlation(first: FloatArray, second: FloatArray) -> float:
    return float(np.corrcoef(first, second)[0, 1])


class Crowd:
    """What many rewards said of the same N transitions, to find those near another at once.

    `likeness` with each of thousands would take longer than the rest of the search.
    """

    NEAR = 0.99
    """Correlation from which `near` names a reward; whoever wants a larger one asks `likeness`."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._count = 0
        self._rows: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def add(self, values: FloatArray) -> None:
        """Add what one more reward said, (N,)."""
        if self._count == len(self._rows):  # double the room, so that each is copied but twice
            grown = np.empty((max(16, 2 * self._count), len(values)), np.float32)
            if self._count:
                grown[: self._count] = self._rows
            self._rows = grown
        self._rows[self._count] = _direction(values)
        self._count += 1

    def near(self, values: FloatArray) -> list[int]:
        """Numbers of those whose correlation with a reward's values is `NEAR` or more, in order.

        Rounding decides at the edge, so it has to lie well below any limit that matters.
        """
        if not self._count:
            return []
        found = self._rows[: self._count] @ _direction(values)
        return [int(place) for place in np.flatnonzero(found >= self.NEAR)]


def _direction(values: FloatArray) -> NDArray[np.float32]:
    """The values without mean and size: products of two such are correlations."""
    centred = values - values.mean()
    return (centred / max(float(np.linalg.norm(centred)), 1e-300)).astype(np.float32)
