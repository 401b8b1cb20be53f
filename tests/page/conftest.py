"""The browser, for every test of a page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.page.browser import browser

__all__ = ["browser"]


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Made-up runs are many small files; they need not survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield
