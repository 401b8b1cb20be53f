"""The live page in a browser, beside a run that is going on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rewardsmith.metrics import Metrics
from rewardsmith.page.server import PORT
from rewardsmith.results import RunDirectory
from tests.page.browser import Browser
from tests.page.served import ask, begin_run, served
from tests.runs import ROOT, SMALL, environment, start

TEXT = "return document.body.innerText"


@contextmanager
def watching(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
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
        yield process, found[0]
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
    with watching(tmp_path) as (_, address):
        assert int(address.rsplit(":")[-1].strip("/")) >= PORT
        browser.visit(address)
        assert "newer" in browser.driver.title
    browser.driver.get("about:blank")
    browser.messages()


@pytest.mark.slow
def test_a_run_is_shown_as_it_happens(tmp_path: Path, browser: Browser) -> None:
    process = start(tmp_path, "env=point", "llm=builtin", *SMALL)
    try:
        root = tmp_path / "results" / "point"
        browser.wait  # noqa: B018
        wait_for(root / "config.yaml", process)
        with watching(tmp_path, str(root)) as (_, address):
            browser.visit(address)
            assert "point" in browser.driver.title
            browser.wait(f"{TEXT}.includes('1/0')")
            before = int(browser.run("return document.documentElement.dataset.drawn"))
            browser.wait_drawn(before + 2)
            assert process.wait(timeout=300) == 0
            browser.wait(f"{TEXT}.includes('2/3')")
            browser.wait(f"/finished/i.test({TEXT.removeprefix('return ')})")
            assert browser.messages() == []
    finally:
        process.kill()
        process.wait()
    browser.driver.get("about:blank")


def test_a_lost_connection_is_told_and_mended(tmp_path: Path, browser: Browser) -> None:
    run = begin_run(tmp_path / "point")
    ask(run)
    with served(run) as server:
        browser.visit(server.url)
        port = server.server_port
        calm = browser.run(TEXT)
        assert not re.search(LOST, calm, re.IGNORECASE)
    browser.wait(f"/{LOST}/i.test(document.body.innerText)")
    Metrics(run).iteration_started(2, 2, 1)
    with served(run, port):
        browser.wait("document.body.innerText.includes('2/0')")
        browser.wait(f"!/{LOST}/i.test(document.body.innerText)")
        browser.driver.get("about:blank")
    assert all("/events" in message for message in browser.messages())
