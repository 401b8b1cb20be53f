"""A headless Chromium for tests of the pages; they are skipped where there is none."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

DRIVER = "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",  # or a click lands where the page is still scrolling
    "--hide-scrollbars",
)
PATIENCE_S = 120
"""For a page; machines that run tests can be very busy."""


class Browser:
    """What the tests do with a page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def visit(self, address: str | Path, drawn: int = 1) -> None:
        """Open a page, or a file, and wait until it is drawn."""
        self.driver.get(address.as_uri() if isinstance(address, Path) else address)
        self.wait_drawn(drawn)

    def wait_drawn(self, drawn: int = 1) -> None:
        """Wait until the page was drawn so often; it counts."""
        self.wait(
            "const told = document.documentElement.dataset;"
            f"return told.ready === 'true' && Number(told.drawn) >= {drawn}"
        )

    def wait(self, script: str) -> None:
        """Wait until a script returns something true."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, PATIENCE_S, 0.1).until(
            lambda driver: driver.execute_script(script)
        )

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script, give what it returns."""
        return self.driver.execute_script(script, *arguments)

    def resize(self, width: int, height: int = 800) -> None:
        """Choose the size of the page, also below what a window can be."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )

    def scheme(self, name: str, reduced_motion: bool = True) -> None:
        """Prefer ``light`` or ``dark``."""
        motion = "reduce" if reduced_motion else "no-preference"
        features = [
            {"name": "prefers-color-scheme", "value": name},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def messages(self) -> list[str]:
        """What the page logged to the console since the last call, errors of the network too."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def overflow(self) -> int:
        """By how many pixels the page is wider than what shows it."""
        script = "const e = document.documentElement; return e.scrollWidth - e.clientWidth"
        return int(self.run(script))

    def violations(self) -> list[str]:
        """What axe-core finds that is serious or critical."""
        from axe_selenium_python import Axe

        axe = Axe(self.driver)
        axe.inject()
        found = axe.run()["violations"]
        return [
            f"{item['id']}: {item['help']} ({json.dumps(node['target'])})"
            for item in found
            if item["impact"] in ("serious", "critical")
            for node in item["nodes"]
        ]

    def picture(self, file: Path, whole: bool = False) -> None:
        """Write a screenshot, of what is in view or of the whole page."""
        found = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole}
        )
        file.write_bytes(base64.b64decode(found["data"]))


def _started(start: Callable[[], Any]) -> Any:
    """Chromium's driver waits a minute for it, which is too little where much else is running."""
    from selenium.common.exceptions import SessionNotCreatedException

    for _ in range(2):
        with suppress(SessionNotCreatedException):
            return start()
    return start()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium with a profile of its own; gone at the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    profile = tempfile.mkdtemp(prefix="chromium-")
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = _started(lambda: webdriver.Chrome(options=options, service=Service(DRIVER)))
    try:
        driver.set_page_load_timeout(PATIENCE_S)
        driver.set_script_timeout(PATIENCE_S)
        yield Browser(driver)
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a module."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    if not Path(DRIVER).exists() or shutil.which("chromium") is None:
        pytest.skip("chromium and chromium-driver are not installed")
    with open_browser() as found:
        yield found
