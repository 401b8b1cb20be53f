"""Ugly replies, and the exact code that is found in them."""

from __future__ import annotations

import pytest

from rewardsmith.reward.extract import extract_code, is_cut_off

CODE = "def compute_reward(state, action, next_state):\n    return 1\n"
OTHER = "def compute_reward(state, action, next_state):\n    return 2\n"
HELPER = "def helper(x):\n    return x\n"
F = "```"

FOUND = {
    "plain": (f"Here you go:\n{F}python\n{CODE}{F}\nGood luck!", CODE),
    "no language": (f"{F}\n{CODE}{F}", CODE),
    "short language": (f"{F}py\n{CODE}{F}", CODE),
    "capitals": (f"{F}Python\n{CODE}{F}", CODE),
    "tildes": (f"~~~python\n{CODE}~~~", CODE),
    "four ticks": (f"````python\n{CODE}````", CODE),
    "last wins": (f"{F}python\n{CODE}{F}\nBetter:\n{F}python\n{OTHER}{F}", OTHER),
    "entry beats helper": (f"{F}python\n{CODE}{F}\nUsage:\n{F}python\n{HELPER}{F}", CODE),
    "other language last": (f"{F}python\n{CODE}{F}\n{F}text\n{OTHER}{F}", CODE),
    "other language first": (f"{F}bash\npip install\n{F}\n{F}python\n{CODE}{F}", CODE),
    "only a helper": (f"{F}python\n{HELPER}{F}", HELPER),
    "in a list": (
        f"1. So:\n   {F}python\n   " + CODE.replace("\n    ", "\n       ") + f"   {F}",
        None,
    ),
    "windows": (f"{F}python\n{CODE}{F}\n".replace("\n", "\r\n"), CODE),
    "old mac": (f"{F}python\n{CODE}{F}\n".replace("\n", "\r"), CODE),
    "bare": (CODE, CODE),
    "bare with imports": ("import numpy as np\n\n" + CODE, "import numpy as np\n\n" + CODE),
    "bare with constant": ("K = 1\n" + CODE, "K = 1\n" + CODE),
    "surrogate": (f"{F}python\n# \ud800\n{CODE}{F}", "# ?\n" + CODE),
    "after a title": (f"# Title\n\n{F}python title=x\n{CODE}{F}", CODE),
    "refusal": ("I cannot do that.", None),
    "empty": ("", None),
    "no function": (f"{F}python\nx = 1\n{F}", None),
    "never closed": (f"{F}python\n{CODE}", None),
    "prose about it": ("You need def compute_reward, which I will not write.", None),
    "inline": ("Use `def compute_reward(state, action, next_state)`.", None),
}


@pytest.mark.parametrize("name", [name for name in FOUND if name != "in a list"])
def test_code_of_a_reply(name: str) -> None:
    reply, code = FOUND[name]
    assert extract_code(reply) == code


def test_fence_inside_a_list_is_dedented() -> None:
    inner = "".join(f"   {line}\n" for line in CODE.splitlines())
    assert extract_code(f"1. So:\n\n{F}python\n{inner}{F}\n") == CODE


@pytest.mark.parametrize(
    ("reply", "cut"),
    [(f"{F}python\n{CODE}", True), (f"{F}python\n{CODE}{F}", False), ("words", False)],
)
def test_reply_that_ends_inside_a_fence(reply: str, cut: bool) -> None:
    assert is_cut_off(reply) is cut


def test_code_can_always_be_written_to_a_file() -> None:
    code = extract_code(f"{F}python\n# \udfff\n{CODE}{F}")
    assert code is not None
    code.encode()
