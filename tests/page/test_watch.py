"""The live page in a browser, beside a run that is going on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rewardsmith.metrics import Metrics
from rewardsmith.page.server import PORT
from tests.page.browser import Browser
from tests.page.served import ask, begin_run, served
from tests.runs import ROOT, SMALL, environment, start

SAYS = "document.body.innerText.includes({!r})"
LOST = "The connection is lost"


@contextmanager
def watching(folder: Path, *arguments: str) -> Iterator[str]:
    """``rewardsmith watch`` and the address that it prints; ended with Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rewardsmith", "watch", *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1", COLUMNS="200"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found is not None, line
        yield found[0]
    finally:
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")


def test_what_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    for arguments, sentence in (
        ((), "There is no run in 'results' yet; name the folder of one.\n"),
        (("nowhere",), "RUN is 'nowhere', but there is no run (no config.yaml) in it.\n"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "rewardsmith", "watch", *arguments],
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(ROOT)),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)


def test_the_newest_run_is_shown_and_ctrl_c_ends_it_in_silence(
    tmp_path: Path, browser: Browser
) -> None:
    for age, name in ((200, "older"), (100, "newer")):
        run = begin_run(tmp_path / "results" / name)
        os.utime(run.config_file, (1_700_000_000 - age,) * 2)
    with watching(tmp_path) as address:
        assert int(address.rsplit(":")[-1].strip("/")) >= PORT
        browser.visit(address)
        assert "newer" in browser.driver.title
    browser.driver.get("about:blank")
    browser.messages()


@pytest.mark.slow
def test_a_run_is_shown_as_it_happens(tmp_path: Path, browser: Browser) -> None:
    few = ("experiment.candidates=2", "experiment.iterations=1")
    process = start(tmp_path, "env=point", "llm=builtin", *SMALL, *few)
    root = tmp_path / "results" / "point"
    try:
        while not (root / "config.yaml").exists():
            assert process.poll() is None
            time.sleep(0.1)
        with watching(tmp_path, str(root)) as address:
            browser.visit(address)
            assert "point" in browser.driver.title
            says(browser, "1/0")
            drawn = int(browser.run("return document.documentElement.dataset.drawn"))
            browser.wait_drawn(drawn + 2)
            assert browser.run("return document.documentElement.dataset.connected") == "true"
            assert process.wait(timeout=300) == 0
            says(browser, "1/1")
            says(browser, "finished")
            assert browser.messages() == []
            browser.driver.get("about:blank")
    finally:
        process.kill()
        process.communicate()


def says(browser: Browser, text: str, no: bool = False) -> None:
    """Wait until a text is on the page, or is no longer."""
    browser.wait(f"return {'!' if no else ''}{SAYS.format(text)}")


def test_a_lost_connection_is_told_and_mended(tmp_path: Path, browser: Browser) -> None:
    run = begin_run(tmp_path / "point")
    ask(run)
    with served(run) as server:
        browser.visit(server.url)
        port = server.server_port
        says(browser, LOST, no=True)
    says(browser, LOST)
    Metrics(run).iteration_started(2, 2, 1)
    with served(run, port):
        says(browser, "2/0")
        says(browser, LOST, no=True)
        browser.driver.get("about:blank")
    assert all("/events" in message for message in browser.messages())


def test_a_run_that_failed_is_shown_with_the_reason(tmp_path: Path, browser: Browser) -> None:
    run = begin_run(tmp_path / "point")
    ask(run)
    run.log_file.write_text("10:00:00 iteration 1\n10:00:01 error: The key was refused <b>.\n")
    with served(run) as server:
        browser.visit(server.url)
        says(browser, "The key was refused <b>.")
        browser.driver.get("about:blank")
    assert browser.messages() == []


def test_a_damaged_file_is_told_on_the_page_until_it_is_mended(
    tmp_path: Path, browser: Browser
) -> None:
    run = begin_run(tmp_path / "point")
    ask(run)
    good = run.record_file.read_text()
    run.record_file.write_text("{")
    with served(run) as server:
        browser.driver.get(server.url)
        says(browser, "run.json cannot be read")
        run.record_file.write_text(good)
        says(browser, "1/0")
        run.record_file.write_text("{")
        says(browser, "run.json cannot be read")
        says(browser, "1/0")
        browser.driver.get("about:blank")
    assert browser.messages() == []
