"""Every reason for which a reward function can fail, and the sentence that goes with it.

A reward process reports a reason by its number in this table, never by words: nothing that
generated code can choose reaches a prompt, a log or a report. ``{...}`` in a sentence is filled in
by the trusted side from its own copy of the source and from numbers that it has checked.
"""

from __future__ import annotations

_SENTENCES = {
    # found by reading the code
    "too_long": "The source is longer than {limit} characters; write a shorter function.",
    "too_complex": "The source is nested too deeply or has too many parts; write simpler code.",
    "syntax": "This is not valid Python 3.",
    "parser_crash": "The source cannot be parsed; write simpler code.",
    "import": "Imports are not available; `np` (numpy) and `math` are already there.",
    "no_function": (
        "There is no function `compute_reward(state, action, next_state)` at the top level; "
        "name it exactly so."
    ),
    "two_functions": "A function name is defined twice; give exactly one definition of each.",
    "signature": (
        "The signature must be exactly `compute_reward(state, action, next_state)`, without "
        "defaults, `*args` or decorators."
    ),
    "top_level": (
        "Only constants and functions may stand at the top level; move everything else into "
        "`compute_reward`."
    ),
    "while_loop": "`while` is not available; use array expressions or a `for` over a short range.",
    "try": "`try` is not available; errors must show. Guard with `np.maximum` or `np.where`.",
    "with": "`with` is not available.",
    "class": "Classes are not available; use plain functions.",
    "lambda": "`lambda` is not available; write a small function with `def`.",
    "decorator": "Decorators are not available.",
    "global": (
        "`global` and `nonlocal` are not available; the reward must be a pure function of one "
        "transition, without counters or memory."
    ),
    "yield": "`yield`, `await` and `async` are not available; return the reward.",
    "statement": "This kind of statement is not available in a reward.",
    "expression": "This kind of expression is not available in a reward.",
    "string": (
        "Strings may only be field names and component names (lower-case letters, digits, "
        "underscores, at most 40), written out as keys."
    ),
    "f_string": "Formatted strings are not available; write the names out.",
    "print": "`print` is not available; return what you want to see as a component.",
    "unknown_name": "This name is not defined; a reward has only its arguments, `np` and `math`.",
    "rebound_name": "This name is taken (a function, a built-in, `np` or `math`); choose another.",
    "function_value": "Functions may only be called, not passed, stored or compared.",
    "np_function": (
        "`np` has no such function here; use elementwise functions, reductions, `np.where`, "
        "`np.clip`, `np.linalg.norm` and the like."
    ),
    "random": "Random numbers are not available; the reward must be a pure function.",
    "math_function": "`math` has no such function here; for arrays use `np`.",
    "attribute": "This attribute or method is not available.",
    "underscore": "Attributes that begin with an underscore are not available.",
    "keyword": "This keyword argument is not available.",
    "call": "Only functions by name, `np`, `math` and array methods can be called.",
    "star": "`*` and `**` are not available here.",
    "mutable_default": "A default value must be a plain number, `None` or a tuple of numbers.",
    "constant_changed": "Constants of the top level cannot be changed; the reward has no memory.",
    "constant_kind": (
        "Constants of the top level must be numbers, numeric arrays, or tuples, lists and dicts of "
        "them; generators and iterators belong into the function."
    ),
    "assign_target": "Only plain names and items of local lists, dicts and arrays can be assigned.",
    "recursion": "Functions must not call themselves, directly or through others.",
    "loop_too_long": "Loops together may run at most {loop_limit} times; use array expressions.",
    "number_too_large": "Numbers beyond 1e18 are not available; keep rewards within about ±10.",
    "number_kind": "Only real numbers are available.",
    "power": "The exponent is too large.",
    "unknown_field": "There is no such field; the fields are {fields}.",
    # found by running it
    "array_truth": (
        "`if`, `and`, `or`, `not`, `min` or `max` met an array; rewards get batches, so use "
        "`np.where`, `&`, `|`, `~`, `np.minimum` or `np.maximum`."
    ),
    "read_only": (
        "The inputs are read-only; do not change them in place, write `x = x - y`, not `x -= y`."
    ),
    "missing_key": "A key was read that does not exist; the fields are {fields}.",
    "broadcast": "Arrays of different shapes were combined; every field is batched, shape (N, …).",
    "axis": "An axis or index does not exist in this array; use `axis=-1` for the last one.",
    "number_type": (
        "numpy refused a number or a type here; a number may be out of the range of its type, so "
        "use floats."
    ),
    "memory": "The memory limit of {memory_mib} MiB was reached.",
    "python_recursion": "The call depth limit was reached.",
    "exception": "A {exception} was raised.",
    "not_a_pair": (
        "It must return a pair: the reward of shape (N,) and a dict of components of shape (N,)."
    ),
    "reward_shape": (
        "The reward must be a real array of shape (N,), one number per transition; reduce with "
        "`axis=-1`, and do not average over the batch."
    ),
    "component_shape": (
        "Component number {component} is not a real array of shape (N,); every component has one "
        "number per transition."
    ),
    "no_components": "The dict of components is empty; name the parts that the reward is made of.",
    "too_many_components": "There are more than 32 components.",
    "component_name": (
        "Component names must be lower-case letters, digits and underscores, at most 40 characters."
    ),
    "components_changed": "The components are not the same in every call.",
    "not_finite": "{what} is not finite (NaN or infinite) on {rows} of {total} transitions.",
    "too_large": "{what} exceeds ±1e6 on {rows} of {total} transitions; scale it down.",
    "wrong_sum": (
        "The components do not sum to the reward (off by up to {gap:.3g}); put the weighted terms "
        "into the dict."
    ),
    "constant": "The reward is the same on all {total} recorded transitions.",
    "impure": "The same transitions gave different rewards; the reward must be a pure function.",
    "batch_dependent": (
        "A transition's reward depends on the other transitions of its batch; compute each row on "
        "its own, with `axis=-1`."
    ),
    "deadline": "It took longer than {deadline_s} s for one batch and was stopped.",
    "died": "Its process ended without an answer (out of memory, or a crash in a library).",
    "protocol": "Its process sent an answer that makes no sense.",
}

REASONS = tuple(_SENTENCES)
NUMBERS = {name: number for number, name in enumerate(REASONS)}

MEASURED = frozenset(
    {"not_finite", "too_large", "wrong_sum", "constant", "impure", "batch_dependent", "deadline"}
    | {"died", "parser_crash"}
)
"""Reasons that only the trusted side can find; a reward process that reports one is lying."""

EXCEPTIONS = (
    "exception",
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "AxisError",
    "FloatingPointError",
    "IndexError",
    "KeyError",
    "LinAlgError",
    "MemoryError",
    "NameError",
    "OverflowError",
    "RecursionError",
    "StopIteration",
    "TypeError",
    "UnboundLocalError",
    "UnicodeError",
    "ValueError",
    "ZeroDivisionError",
)
"""Names of exceptions that may be reported, by number; all others are number 0."""


def sentence(reason: str, **values: object) -> str:
    """Give the sentence of a reason with its blanks filled in."""
    return _SENTENCES[reason].format(**values)
