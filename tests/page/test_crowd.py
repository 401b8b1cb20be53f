"""The page of a very large run in a browser: it opens, it follows, and it stays small."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewardsmith.metrics import Metrics
from rewardsmith.page.crowd import MOST_SHOWN
from rewardsmith.page.write import write_report
from tests.page import made_up
from tests.page.browser import Browser
from tests.page.served import served

ORDER = "return [...document.querySelectorAll('details.candidate')].map((node) => node.id)"


@pytest.mark.slow
def test_a_report_on_very_many_opens_and_shows_the_best(tmp_path: Path, browser: Browser) -> None:
    run = made_up.crowd(tmp_path / "point", iterations=5, each=120)
    file = write_report(run)
    assert file.stat().st_size < 2_000_000
    browser.resize(390, 844)
    browser.visit(file)
    assert browser.messages() == []
    assert browser.overflow() <= 0
    assert len(browser.run(ORDER)) == MOST_SHOWN
    assert browser.run("return document.querySelectorAll('#iterations-table tbody tr').length") == 5
    assert "300 of 600 candidates" in browser.run("return document.body.innerText")
    assert browser.run("return document.querySelectorAll('.series-list button').length") < 60
    browser.run("document.getElementById('row-candidate-5-3').click()")
    browser.wait("return document.getElementById('candidate-5-3').open")
    browser.wait("return document.querySelector('#candidate-5-3 pre.code').innerText.length > 50")
    assert browser.messages() == []


@pytest.mark.slow
def test_the_live_page_of_very_many_makes_room_for_those_on_their_way(
    tmp_path: Path, browser: Browser
) -> None:
    run = made_up.crowd(tmp_path / "point", iterations=3, each=120)
    browser.resize(1280, 800)
    with served(run) as server:
        browser.visit(server.url)
        before = browser.run(ORDER)
        Metrics(run).iteration_started(4, 4, 120)
        browser.wait("return document.getElementById('candidate-4-119') !== null")
        after = browser.run(ORDER)
        assert len(before) == len(after) == MOST_SHOWN
        assert after == sorted(after, key=lambda name: [int(part) for part in name.split("-")[1:]])
        assert "candidate-4-0" in after and set(before) - set(after)
        assert browser.messages() == []
    browser.driver.get("about:blank")
    browser.messages()
