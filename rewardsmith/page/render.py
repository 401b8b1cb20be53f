"""Make one self-contained page of a run's data: nothing is fetched from anywhere.

Style and scripts are inlined and named by their hashes in the page's Content-Security-Policy, which
allows nothing else. What a language model wrote reaches the page as JSON alone, and the scripts put
it there as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import jinja2

Mode = Literal["report", "watch"]

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("rewardsmith.page", "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=True,
)
_LIBRARY = ("vendor/uplot/uPlot.iife.min.js",)
_SHARED = ("elements.js", "charts.js")
_SCRIPTS = {
    "page": (*_SHARED, "tree.js", "candidate.js", "sections.js", "page.js"),
    "compare": (*_SHARED, "compare.js"),
}
_STYLES = ("vendor/uplot/uPlot.min.css", "page.css")


def render(data: dict[str, Any] | None, mode: Mode) -> str:
    """The page of a run.

    Args:
        data: of `rewardsmith.page.data.collect`; None if there is nothing to show yet.
        mode: ``report`` shows the data; ``watch`` goes on to show what ``/events`` sends.
    """
    return _render("page", data, data["title"] if data else "a run", mode)


def live_policy() -> str:
    """What the live page may do, for the header that it is served with."""
    own = _policy(_script("page"), _text(_STYLES), "watch")
    return f"{own}; frame-ancestors 'none'"  # which a page cannot say of itself


def render_comparison(data: dict[str, Any]) -> str:
    """The page that sets runs side by side; see `rewardsmith.page.comparison.compare`."""
    return _render("compare", data, data["title"], "report")


def _render(kind: str, data: dict[str, Any] | None, title: str, mode: Mode) -> str:
    script, style = _script(kind), _text(_STYLES)
    return _TEMPLATES.get_template("page.html.j2").render(
        title=title,
        kind=kind,
        mode=mode,
        script=script,
        style=style,
        policy=_policy(script, style, mode),
        data=inlined(data),
    )


def _script(kind: str) -> str:
    own = f'(() => {{\n"use strict";\n{_text(_SCRIPTS[kind])}\n}})();'
    return f"{_text(_LIBRARY)}\n{own}"


def inlined(data: Any) -> str:
    r"""JSON that can stand in a ``<script>``: nothing in it can end the element or open a comment.

    Example:
        >>> print(inlined({"reply": "</script><!--"}))
        {"reply":"\u003c/script>\u003c!--"}
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _policy(script: str, style: str, mode: Mode) -> str:
    connect = "'self'" if mode == "watch" else "'none'"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "media-src data:",
            f"connect-src {connect}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@lru_cache
def _text(names: tuple[str, ...]) -> str:
    folder = files("rewardsmith.page")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
