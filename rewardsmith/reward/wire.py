"""What the two ends of a reward process say to each other: raw numbers, nothing that is unpickled.

Requests and answers are eight bytes, two unsigned 32-bit integers. Arrays lie in two shared
memories of fixed layout: one that the reward process can only read (states, actions, next
states), one that it writes (a small header, then the reward, then the components).
"""

from __future__ import annotations

import re
import struct

TOKEN = struct.Struct("<II")
"""A request (what to do, argument) or an answer (how it went, argument)."""

LOAD, EVALUATE = 1, 2
READY, DONE, FAILED = 11, 12, 13

MAX_COMPONENTS = 32
NAME_BYTES = 40

FAULT = struct.Struct("<8q")
"""Header of a failed call: reason, exception, line, column, end line, end column, component, 0."""

COMPONENT_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

NAMES_AT = FAULT.size
HEADER_BYTES = 4096
"""The header page: a fault, then the names of the components, `NAME_BYTES` each."""


def input_bytes(rows: int, state_width: int, action_width: int) -> int:
    """Size of the read-only memory."""
    return 8 * rows * (2 * state_width + action_width)


def output_bytes(rows: int) -> int:
    """Size of the written memory."""
    return HEADER_BYTES + 8 * rows * (1 + MAX_COMPONENTS)
