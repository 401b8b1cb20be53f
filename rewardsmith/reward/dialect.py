"""The dialect in which rewards are written: a small, allow-listed part of Python.

`parse` turns source text into a syntax tree that holds nothing but allowed nodes, or raises
`Violation` with a reason and a place. It gives a language model fast and clear rejections. It is
*not* the security boundary: that is the lock on the reward process (`rewardsmith.reward.lockdown`).

The parser itself can be crashed by hostile text, so `parse` is only called inside a reward process.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from rewardsmith.reward import allowed

ENTRY = "compute_reward"
PARAMETERS = ["state", "action", "next_state"]
MAX_LENGTH = 16_000
MAX_TOKENS = 5_000
MAX_BRACKETS = 25
MAX_NODES = 6_000
MAX_DEPTH = 50
MAX_LOOP = 1_000
MAX_LOOPS = 10_000
MAX_NUMBER = 1e18
MAX_EXPONENT = 64
UNKNOWN_LOOP = 8
"""What a loop over something of unknown length counts as, in the product of nested loops."""

_NOT_TEXT = re.compile("[\\0\\ud800-\\udfff]")
"""NUL and lone surrogates: the tokenizers of some Python versions raise odd errors on them."""
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_EINSUM = re.compile(r"[a-zA-Z,.> -]{1,60}")

_STATEMENT_REASONS: dict[type[ast.AST], str] = {
    ast.While: "while_loop",
    ast.Try: "try",
    ast.With: "with",
    ast.ClassDef: "class",
    ast.Global: "global",
    ast.Nonlocal: "global",
    ast.Import: "import",
    ast.ImportFrom: "import",
    ast.AsyncFunctionDef: "yield",
    ast.AsyncFor: "yield",
    ast.AsyncWith: "yield",
}
if hasattr(ast, "TryStar"):
    _STATEMENT_REASONS[ast.TryStar] = "try"

_EXPRESSION_REASONS: dict[type[ast.AST], str] = {
    ast.Lambda: "lambda",
    ast.JoinedStr: "f_string",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Await: "yield",
    ast.NamedExpr: "rebound_name",
    ast.Starred: "star",
}

_PLAIN_EXPRESSIONS = (
    ast.BoolOp,
    ast.BinOp,
    ast.UnaryOp,
    ast.IfExp,
    ast.Compare,
    ast.Subscript,
    ast.Slice,
    ast.Tuple,
    ast.List,
    ast.Dict,
    ast.ListComp,
    ast.DictComp,
    ast.GeneratorExp,
)
_COMPREHENSIONS = (ast.ListComp, ast.DictComp, ast.GeneratorExp)
_OPERATORS = (
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.Pow,
    ast.MatMult,
    ast.BitAnd,
    ast.BitOr,
    ast.BitXor,
)


class Violation(Exception):
    """The source leaves the dialect.

    Attributes:
        reason: a key of `rewardsmith.reward.reasons`.
        place: line, column, end line and end column of the offending text; lines from 1, columns
            in UTF-8 bytes from 0; all 0 if no place is to blame.
    """

    def __init__(self, reason: str, node: ast.AST | None = None, line: int = 0) -> None:
        """Take the place from a node, or only a line."""
        super().__init__(reason)
        self.reason = reason
        self.place = (
            line or getattr(node, "lineno", 0),
            getattr(node, "col_offset", 0),
            getattr(node, "end_lineno", None) or line,
            getattr(node, "end_col_offset", None) or 0,
        )


def parse(source: str, fields: frozenset[str] | None = None) -> ast.Module:
    """Check a reward's source against the dialect.

    Args:
        source: the text.
        fields: names that ``state`` and ``next_state`` have; None skips that check.

    Returns:
        The tree without docstrings, annotations and harmless imports; line numbers are the text's.

    Raises:
        Violation: at the first thing that is not allowed.
    """
    if len(source) > MAX_LENGTH:
        raise Violation("too_long")
    strange = _NOT_TEXT.search(source)
    if strange:
        raise Violation("syntax", line=source.count("\n", 0, strange.start()) + 1)
    _check_tokens(source)
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise Violation("syntax", line=error.lineno or 0) from None
    except (ValueError, RecursionError, MemoryError):
        raise Violation("too_complex") from None
    _check_size(tree)
    tree = _Strip().visit(tree)
    _Module(tree, fields).check()
    return ast.fix_missing_locations(tree)


def _check_tokens(source: str) -> None:
    """Stop text that would strain the parser, before it gets there."""
    depth = 0
    try:
        for count, token in enumerate(tokenize.generate_tokens(io.StringIO(source).readline)):
            if token.string in ("(", "[", "{"):
                depth += 1
            elif token.string in (")", "]", "}"):
                depth -= 1
            if depth > MAX_BRACKETS or count > MAX_TOKENS:
                raise Violation("too_complex", line=token.start[0])
    except (tokenize.TokenError, SyntaxError) as error:
        raise Violation("syntax", line=_error_line(source, error)) from None


def _error_line(source: str, error: Exception) -> int:
    try:
        ast.parse(source)
    except SyntaxError as parsed:  # its line is the better one
        return parsed.lineno or 0
    except (ValueError, RecursionError, MemoryError):
        pass
    return getattr(error, "lineno", None) or 0


def _check_size(tree: ast.AST) -> None:
    count = 0
    level = [tree]
    for depth in range(MAX_DEPTH + 2):
        count += len(level)
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            break
        if depth > MAX_DEPTH or count > MAX_NODES:
            placed = (node for node in level if hasattr(node, "lineno"))
            raise Violation("too_complex", next(placed, None))


class _Strip(ast.NodeTransformer):
    """Drop what is harmless and means nothing: docstrings, annotations, three imports."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST | None:  # noqa: N802
        allowed_names = {("numpy", "np"), ("math", None), ("typing", None)}
        harmless = all((item.name, item.asname) in allowed_names for item in node.names)
        return None if harmless else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:  # noqa: N802
        return None if node.module in ("typing", "__future__") and not node.level else node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:  # noqa: N802
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802
        node.returns = None
        for argument in _arguments(node.args):
            argument.annotation = None
        self.generic_visit(node)
        node.body = [item for item in node.body if not _is_text(item)] or [ast.Pass()]
        return node

    def visit_Module(self, node: ast.Module) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        node.body = [item for item in node.body if not _is_text(item)]
        return node


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    extra = [item for item in (arguments.vararg, arguments.kwarg) if item is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


class _Module:
    """The top level: constants and functions, one of them called ``compute_reward``."""

    def __init__(self, tree: ast.Module, fields: frozenset[str] | None) -> None:
        self.tree = tree
        self.fields = fields
        self.functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        self.function_names = frozenset(node.name for node in self.functions)
        stored = list(_stored_names(self._top_level(ast.Assign)))
        self.constants = frozenset(stored)
        self.numbers = {name for name in self._named_numbers() if stored.count(name) == 1}

    def _top_level(self, kind: type[ast.stmt]) -> list[ast.stmt]:
        return [node for node in self.tree.body if isinstance(node, kind)]

    def _named_numbers(self) -> Iterator[str]:
        """Names of top-level constants that are plain numbers: fit to be defaults."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and _is_plain(node.value):
                yield from (item.id for item in node.targets if isinstance(item, ast.Name))

    def check(self) -> None:
        for node in self.tree.body:
            if not isinstance(node, (ast.FunctionDef, ast.Assign)):
                raise Violation(_statement_reason(node, "top_level"), node)
        self._check_functions()
        scope = _Scope(self, self.constants, fields=None)
        for statement in self._top_level(ast.Assign):
            scope.statement(statement)
        for function in self._top_level(ast.FunctionDef):
            self._check_function(function, frozenset())  # type: ignore[arg-type]
        self._check_recursion()

    def _check_functions(self) -> None:
        seen: set[str] = set()
        for function in self.functions:
            if function.name in seen:
                raise Violation("two_functions", function)
            if function.name in _RESERVED or function.name.startswith("__"):
                raise Violation("rebound_name", function)
            seen.add(function.name)
        entries = [node for node in self._top_level(ast.FunctionDef) if node.name == ENTRY]  # type: ignore[attr-defined]
        if not entries:
            raise Violation("no_function")
        arguments = entries[0].args  # type: ignore[attr-defined]
        names = [item.arg for item in _arguments(arguments)]
        plain = len(arguments.args) == 3 and not arguments.defaults
        if names != PARAMETERS or not plain:
            raise Violation("signature", entries[0])

    def _check_function(self, function: ast.FunctionDef, outer: frozenset[str]) -> None:
        if getattr(function, "type_params", None):  # `def f[T](x)`, Python 3.12 and later
            raise Violation("expression", function)
        if function.decorator_list:
            raise Violation("decorator", function.decorator_list[0])
        if function.args.vararg or function.args.kwarg:
            raise Violation("star", function)
        for default in [*function.args.defaults, *function.args.kw_defaults]:
            named = isinstance(default, ast.Name) and default.id in self.numbers
            if default is not None and not named and not _is_plain(default):
                raise Violation("mutable_default", default)
        parameters = {item.arg for item in _arguments(function.args)}
        for name in parameters:
            if name in _RESERVED or name in self.function_names:
                raise Violation("rebound_name", function)
        own = parameters | set(_stored_names(function.body))
        is_entry = function.name == ENTRY
        dicts = _fresh_dicts(function.body) - parameters
        scope = _Scope(self, outer | own, self.fields if is_entry else None, own, dicts)
        for statement in function.body:
            if isinstance(statement, ast.FunctionDef):
                self._check_function(statement, outer | own)
            else:
                scope.statement(statement)

    def _check_recursion(self) -> None:
        calls = {
            function.name: {
                node.func.id
                for node in ast.walk(function)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            }
            & self.function_names
            for function in self.functions
        }
        ready: set[str] = set()
        while len(ready) < len(calls):
            found = {name for name in calls if name not in ready and calls[name] <= ready}
            if not found:
                stuck = next(item for item in self.functions if item.name not in ready)
                raise Violation("recursion", stuck)
            ready |= found


_RESERVED = allowed.BUILTIN_FUNCTIONS | {"np", "math"}


def _stored_names(statements: list[ast.stmt]) -> Iterator[str]:
    """Names that statements bind, those of nested functions left out."""
    pending: list[ast.AST] = list(statements)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        pending.extend(ast.iter_child_nodes(node))


def _fresh_dicts(statements: list[ast.stmt]) -> set[str]:
    """Names that are only ever bound to a new dict, so that nothing else is changed with them."""
    stored = list(_stored_names(statements))
    fresh = [
        target.id
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Assign) and _is_new_dict(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    return {name for name in fresh if stored.count(name) <= fresh.count(name)}


def _filled(call: ast.expr) -> str | None:
    """Name of the list or dict that a call like ``parts.append(x)`` fills."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return None
    owner = call.func.value
    fills = call.func.attr in ("append", "extend", "update")
    return owner.id if fills and isinstance(owner, ast.Name) else None


def _is_new_dict(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "dict"
    return isinstance(node, (ast.Dict, ast.DictComp))


def _statement_reason(node: ast.AST, otherwise: str) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        if isinstance(function, ast.Name) and function.id == "print":
            return "print"
    return _STATEMENT_REASONS.get(type(node), otherwise)


def _is_plain(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(_is_plain(item) for item in node.elts)
    return _number(node) is not None or (isinstance(node, ast.Constant) and node.value is None)


def _number(node: ast.AST) -> float | int | None:
    """Value of a constant arithmetic expression, None if it is not one.

    Raises:
        Violation: the value, or one on the way, is too large.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        value = node.value
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _number(node.operand)
        if inner is None:
            return None
        value = -inner if isinstance(node.op, ast.USub) else inner
    elif isinstance(node, ast.BinOp):
        result = _binary(node)
        if result is None:
            return None
        value = result
    else:
        return None
    if not abs(value) <= MAX_NUMBER:
        raise Violation("number_too_large", node)
    return value


def _binary(node: ast.BinOp) -> float | int | None:
    left, right = _number(node.left), _number(node.right)
    if isinstance(node.op, ast.Pow) and right is not None and abs(right) > MAX_EXPONENT:
        raise Violation("power", node)
    if left is None or right is None:
        return None
    try:
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
        if isinstance(node.op, ast.FloorDiv):
            return left // right
        if isinstance(node.op, ast.Pow):
            result = left**right
            return None if isinstance(result, complex) else result
    except ZeroDivisionError:
        return None
    except OverflowError:
        raise Violation("number_too_large", node) from None
    return None


class _Scope:
    """Checks the statements of one function (or of the top level) and all that is in them."""

    def __init__(
        self,
        module: _Module,
        names: frozenset[str] | set[str],
        fields: frozenset[str] | None,
        own: set[str] | frozenset[str] = frozenset(),
        dicts: set[str] | frozenset[str] = frozenset(),
    ) -> None:
        self.module = module
        self.names = names | module.constants
        self.own = own or names
        self.dicts = dicts
        self.fields = fields
        self.loops = 1

    # -- statements -------------------------------------------------------------------------

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self.target(target)
            self.expression(node.value)
        elif isinstance(node, ast.AugAssign):
            self.target(node.target)
            self.operator(node)
            self.expression(node.value)
        elif isinstance(node, ast.Return):
            if node.value is not None:
                self.expression(node.value)
        elif isinstance(node, ast.If):
            self.expression(node.test)
            self.block([*node.body, *node.orelse])
        elif isinstance(node, ast.For):
            self.for_loop(node)
        elif isinstance(node, ast.Expr):
            self.bare_expression(node)
        elif not isinstance(node, (ast.Pass, ast.Break, ast.Continue)):
            raise Violation(_statement_reason(node, "statement"), node)

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def for_loop(self, node: ast.For) -> None:
        self.target(node.target)
        outer = self.loops
        self.iterable(node.iter)
        self.block(node.body)
        self.loops = outer
        self.block(node.orelse)

    def bare_expression(self, node: ast.Expr) -> None:
        """``parts.append(x)`` and its like are the only calls that mean something alone."""
        call = node.value
        filled = _filled(call)
        if filled is not None and filled not in self.own:
            raise Violation("constant_changed", node)
        if isinstance(call, ast.Call):
            self.expression(call)  # names the better reason, e.g. an unknown name
        if filled is None:
            inner = _EXPRESSION_REASONS.get(type(call))
            raise Violation(inner or _statement_reason(node, "statement"), node)

    def target(self, node: ast.expr) -> None:
        if isinstance(node, ast.Name):
            if node.id in _RESERVED or node.id in self.module.function_names:
                raise Violation("rebound_name", node)
            if node.id.startswith("__"):
                raise Violation("underscore", node)
        elif isinstance(node, (ast.Tuple, ast.List)):
            for item in node.elts:
                self.target(item)
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            if node.value.id not in self.own:
                raise Violation("constant_changed", node)
            self.expression(node.value)
            self.index(node.slice)
        elif isinstance(node, ast.Attribute):
            reason = "underscore" if node.attr.startswith("_") else "assign_target"
            raise Violation(reason, node)
        else:
            raise Violation("assign_target", node)

    # -- loops ------------------------------------------------------------------------------

    def iterable(self, node: ast.expr) -> None:
        """Check what a loop runs over, and count it against the limit of nested loops."""
        length = UNKNOWN_LOOP
        if isinstance(node, (ast.Tuple, ast.List)):
            length = len(node.elts)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "range":
            numbers = [_number(argument) for argument in node.args]
            known = [int(number) for number in numbers if number is not None]
            if known and len(known) == len(numbers) and len(known) <= 3:
                try:
                    length = len(range(*known))
                except (ValueError, OverflowError):
                    length = MAX_LOOP + 1
        self.loops *= max(length, 1)
        if length > MAX_LOOP or self.loops > MAX_LOOPS:
            raise Violation("loop_too_long", node)
        self.expression(node)

    def comprehension(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> None:
        outer = self.loops
        for generator in node.generators:
            if generator.is_async:
                raise Violation("yield", node)
            self.target(generator.target)
            self.iterable(generator.iter)
            for condition in generator.ifs:
                self.expression(condition)
        if isinstance(node, ast.DictComp):
            self.key(node.key)
            self.expression(node.value)
        else:
            self.expression(node.elt)
        self.loops = outer

    # -- expressions ------------------------------------------------------------------------

    def expression(self, node: ast.AST | None) -> None:
        if node is None:
            return
        if isinstance(node, ast.Constant):
            self.constant(node)
        elif isinstance(node, ast.Name):
            self.name(node)
        elif isinstance(node, ast.Attribute):
            self.attribute(node)
        elif isinstance(node, ast.Call):
            self.call(node)
        elif isinstance(node, _COMPREHENSIONS):
            self.comprehension(node)
        elif isinstance(node, ast.Subscript):
            self.subscript(node)
        elif isinstance(node, ast.Dict):
            self.dictionary(node)
        elif isinstance(node, (ast.Tuple, ast.List, ast.Compare)):
            self.parts(node)
        elif isinstance(node, _PLAIN_EXPRESSIONS):
            if isinstance(node, ast.BinOp):
                self.operator(node)
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self.expression(child)
        else:
            raise Violation(_EXPRESSION_REASONS.get(type(node), "expression"), node)

    def parts(self, node: ast.Tuple | ast.List | ast.Compare) -> None:
        """Names may stand in tuples and lists to loop over, and be compared."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.key(child)

    def operator(self, node: ast.BinOp | ast.AugAssign) -> None:
        if not isinstance(node.op, _OPERATORS):
            raise Violation("expression", node)
        if isinstance(node, ast.BinOp):
            _number(node)
        elif isinstance(node.op, ast.Pow):
            exponent = _number(node.value)
            if exponent is not None and abs(exponent) > MAX_EXPONENT:
                raise Violation("power", node)

    def constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, (str, bytes)):
            raise Violation("string", node)
        if isinstance(node.value, complex):
            raise Violation("number_kind", node)
        if isinstance(node.value, (int, float)):
            _number(node)

    def key(self, node: ast.expr | None) -> None:
        """An expression that may also be a field name or a component name."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if not _KEY.fullmatch(node.value):
                raise Violation("string", node)
        else:
            self.expression(node)

    def name(self, node: ast.Name) -> None:
        if node.id in self.module.function_names or node.id in allowed.BUILTIN_FUNCTIONS:
            raise Violation("function_value", node)
        if node.id in ("np", "math"):
            raise Violation("function_value", node)
        if node.id == "print":
            raise Violation("print", node)
        if node.id not in self.names:
            raise Violation("unknown_name", node)

    def attribute(self, node: ast.Attribute) -> None:
        """An attribute that is read, not called."""
        if node.attr.startswith("_"):
            raise Violation("underscore", node)
        if isinstance(node.value, ast.Name) and node.value.id == "np":
            if node.attr in allowed.NUMPY_CONSTANTS:
                return
            raise Violation(_numpy_reason(node.attr, called=False), node)
        if isinstance(node.value, ast.Name) and node.value.id == "math":
            if node.attr not in allowed.MATH_CONSTANTS:
                raise Violation("math_function", node)
            return
        if _is_module_attribute(node.value):
            raise Violation(_numpy_reason(node.value.attr, called=False), node)  # type: ignore[attr-defined]
        self.expression(node.value)
        if node.attr in allowed.METHODS:
            raise Violation("function_value", node)
        if node.attr not in allowed.ATTRIBUTES:
            raise Violation("attribute", node)

    def subscript(self, node: ast.Subscript) -> None:
        self.expression(node.value)
        self.index(node.slice)
        self.field(node.value, node.slice)

    def index(self, node: ast.expr) -> None:
        if isinstance(node, ast.Tuple):
            for item in node.elts:
                self.expression(item)
        else:
            self.key(node)

    def field(self, value: ast.expr, key: ast.expr) -> None:
        if self.fields is None or not isinstance(value, ast.Name):
            return
        named = isinstance(key, ast.Constant) and isinstance(key.value, str)
        if value.id in ("state", "next_state") and named and key.value not in self.fields:  # type: ignore[attr-defined]
            raise Violation("unknown_field", key)

    def dictionary(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            self.key(key)  # None in `{**parts}`
            self.expression(value)

    # -- calls ------------------------------------------------------------------------------

    def call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Name):
            keywords, name = self.named_call(function), ""  # a helper may be called `einsum`
        elif isinstance(function, ast.Attribute):
            keywords, name = self.attribute_call(function), function.attr
        else:
            self.expression(function)
            raise Violation("call", node)
        for keyword in node.keywords:
            if keyword.arg is None:
                raise Violation("star", node)
            if keywords is not None and keyword.arg not in keywords:
                raise Violation("keyword", keyword)
            if keyword.arg == "dtype" and name and self.is_type(keyword.value):
                continue
            self.expression(keyword.value)
        for position, argument in enumerate(node.args):
            self.argument(name, position, argument)
        if name == "get" and isinstance(function, ast.Attribute) and node.args:
            self.field(function.value, node.args[0])

    def argument(self, name: str, position: int, node: ast.expr) -> None:
        text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if text and position == 0 and name == "get":
            self.key(node)
        elif text and position == 0 and name == "einsum":
            if not _EINSUM.fullmatch(node.value):  # type: ignore[attr-defined]
                raise Violation("string", node)
        elif not (allowed.DTYPE_CALLS.get(name) == position and self.is_type(node)):
            self.expression(node)

    def named_call(self, function: ast.Name) -> frozenset[str] | None:
        """Check a call by plain name; give the keywords it may have, None for any."""
        if function.id in self.module.function_names:
            return None
        if function.id == "dict":
            return None
        if function.id not in allowed.BUILTIN_FUNCTIONS:
            self.name(function)
            raise Violation("call", function)
        return allowed.BUILTIN_KEYWORDS

    def attribute_call(self, function: ast.Attribute) -> frozenset[str]:
        if function.attr.startswith("_"):
            raise Violation("underscore", function)
        owner = function.value
        if isinstance(owner, ast.Name) and owner.id == "np":
            if function.attr not in allowed.NUMPY_FUNCTIONS | allowed.NUMPY_TYPES:
                raise Violation(_numpy_reason(function.attr, called=True), function)
        elif isinstance(owner, ast.Name) and owner.id == "math":
            if function.attr not in allowed.MATH_FUNCTIONS:
                raise Violation("math_function", function)
        elif _is_module_attribute(owner):
            module = owner.attr  # type: ignore[attr-defined]
            if module != "linalg" or function.attr not in allowed.NUMPY_LINALG:
                raise Violation(_numpy_reason(module, called=True), function)
        else:
            self.expression(owner)
            if function.attr not in allowed.METHODS:
                raise Violation("attribute", function)
            if function.attr == "update" and getattr(owner, "id", "") not in self.dicts:
                raise Violation("assign_target", function)
        return allowed.NUMPY_KEYWORDS

    @staticmethod
    def is_type(node: ast.expr) -> bool:
        """``float`` or ``np.float64``, where a dtype may stand."""
        if isinstance(node, ast.Name):
            return node.id in allowed.BUILTIN_TYPES
        return (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "np"
            and node.attr in allowed.NUMPY_TYPES
        )


def _is_module_attribute(node: ast.expr) -> bool:
    """``np.something``: a submodule that a further attribute is asked of."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("np", "math")
        and not node.attr.startswith("_")
        and node.attr not in allowed.NUMPY_CONSTANTS | allowed.MATH_CONSTANTS
    )


def _numpy_reason(name: str, *, called: bool) -> str:
    if name == "random":
        return "random"
    known = allowed.NUMPY_FUNCTIONS | allowed.NUMPY_TYPES
    return "function_value" if name in known and not called else "np_function"
