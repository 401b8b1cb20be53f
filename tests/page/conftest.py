"""The browser, for every test of a page."""

from tests.page.browser import browser

__all__ = ["browser"]
