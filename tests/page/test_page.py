"""The page in a browser: it opens from disk, shows the run, and can be used by everybody."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rewardsmith.commands import app
from rewardsmith.page.data import collect
from rewardsmith.page.render import inlined, render
from rewardsmith.page.write import write_report
from rewardsmith.results import RunDirectory
from tests.page import made_up
from tests.page.browser import Browser
from tests.page.test_data import many

STATES = {
    "finished": "The run is finished.",
    "return": "The run is finished.",
    "running": "The run is going on: training.",
    "stopped": "The key in OPENAI_API_KEY is not accepted.",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    root = tmp_path_factory.mktemp("runs")
    found = {
        "finished": made_up.finished(root / "finished"),
        "return": made_up.finished(root / "return", "return"),
        "running": made_up.running(root / "running"),
        "stopped": made_up.stopped(root / "stopped"),
    }
    for run in found.values():
        write_report(run)
    return found


# -- the file ---------------------------------------------------------------------------------


def test_nothing_in_the_file_is_fetched_or_can_end_the_script(
    runs: dict[str, RunDirectory],
) -> None:
    text = runs["finished"].report_file.read_text()
    assert not re.findall(r"""(?:src|href|url|import)\s*[=(]\s*["']?(?:https?:)?//""", text)
    assert text.count("</script>") == 2, "the data and the scripts; no text can close them"
    assert "<img" not in text
    [policy] = re.findall(r'content="(default-src[^"]*)"', text)
    assert policy.startswith("default-src &#39;none&#39;; script-src &#39;sha256-")
    assert "unsafe" not in policy


def test_a_page_of_the_same_data_is_the_same_file(runs: dict[str, RunDirectory]) -> None:
    data = collect(runs["finished"])
    assert render(data, "report") == render(data, "report")
    assert "connect-src &#39;self&#39;" in render(data, "watch")


def test_a_video_is_inside_and_one_that_is_too_large_gives_way(tmp_path: Path) -> None:
    run = made_up.finished(tmp_path / "point")
    run.best_video.parent.mkdir()
    run.best_video.write_bytes(b"\x00" * 1_400_000)
    write_report(run)
    text = run.report_file.read_text()
    assert f"data:video/mp4;base64,{base64.b64encode(bytes(30)).decode()[:36]}" in text
    assert len(text) < 3_000_000
    run.best_video.write_bytes(b"\x00" * 3_000_000)
    run.best_video.with_suffix(".gif").write_bytes(b"GIF89a")
    assert collect(run)["video"]["kind"] == "image/gif"
    run.best_video.with_suffix(".gif").write_bytes(b"\x00" * 3_000_000)
    assert "too large" in collect(run)["video"]["text"]


def test_text_that_utf8_cannot_spell_is_written(tmp_path: Path) -> None:
    run = made_up.finished(tmp_path / "point")
    data = collect(run)
    data["candidates"][0]["reply"] = "\ud800 </SCRIPT> \u2028"
    run.write_report(render(data, "report"))
    assert r"\ud800 \u003c/SCRIPT> \u2028" in run.report_file.read_text()
    assert inlined("<!--") == r'"\u003c!--"'


# -- commands ------------------------------------------------------------------------------------


def test_report_writes_the_page_anew_and_prints_where(runs: dict[str, RunDirectory]) -> None:
    run = runs["finished"]
    run.report_file.unlink()
    result = CliRunner().invoke(app, ["report", str(run.root)])
    assert result.exit_code == 0
    assert result.output.strip() == str(run.report_file)
    assert run.report_file.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("command", [["report"], ["compare", "."]])
def test_what_is_no_run_is_refused_in_a_sentence(command: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*command, str(tmp_path)])
    assert result.exit_code == 2
    assert "there is no run (no config.yaml) in it." in result.output


def test_a_run_is_not_compared_with_itself(runs: dict[str, RunDirectory]) -> None:
    root = str(runs["finished"].root)
    result = CliRunner().invoke(app, ["compare", root, root])
    assert result.exit_code == 2
    assert "must be two or more different runs" in result.output


def test_a_damaged_run_is_named(tmp_path: Path) -> None:
    run = made_up.finished(tmp_path / "point")
    (run.iteration(1) / "candidate_0.json").write_text("{")
    result = CliRunner().invoke(app, ["report", str(run.root)])
    assert result.exit_code == 2
    assert "candidate_0.json is damaged" in result.output


# -- in a browser --------------------------------------------------------------------------------


@pytest.fixture
def page(browser: Browser) -> Browser:
    browser.scheme("light")
    browser.resize(1280)
    browser.messages()
    return browser


def text(page: Browser, selector: str) -> str:
    return str(page.run("return document.querySelector(arguments[0]).innerText", selector))


def open_everything(page: Browser) -> None:
    """Open all that can be, and draw the charts."""
    page.run("for (const node of document.querySelectorAll('details')) node.open = true")
    page.run("return new Promise((done) => setTimeout(done, 50))")
    page.run("for (const node of document.querySelectorAll('details')) node.open = true")


@pytest.mark.parametrize("name", STATES)
def test_it_opens_from_disk_and_says_what_came_out(
    name: str, page: Browser, runs: dict[str, RunDirectory]
) -> None:
    page.visit(runs[name].report_file)
    assert STATES[name] in text(page, "#state")
    assert collect(runs[name])["sentence"] in text(page, "main")
    for width in (1280, 390):
        page.resize(width)
        assert page.overflow() == 0
    assert page.run("return document.title") == f"{name} · rewardsmith", "no text was executed"
    assert page.run("return document.querySelectorAll('main img').length") == 0
    assert page.messages() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opened_wide_it_is_for_everybody(
    scheme: str, page: Browser, runs: dict[str, RunDirectory]
) -> None:
    page.scheme(scheme, reduced_motion=True)
    page.visit(runs["finished"].report_file)
    open_everything(page)
    assert page.violations() == []
    page.resize(390)
    assert page.overflow() == 0
    assert page.messages() == []


def test_what_a_model_wrote_is_shown_as_text(page: Browser, runs: dict[str, RunDirectory]) -> None:
    page.visit(runs["finished"].report_file)
    open_everything(page)
    assert made_up.ATTACK in text(page, "#candidate-3-0-reply")
    assert made_up.ATTACK in text(page, "#candidate-1-2 .offending")
    assert text(page, "#candidate-1-2 .blamed").startswith("    near")


def test_charts_are_drawn_where_they_come_into_view(
    page: Browser, runs: dict[str, RunDirectory]
) -> None:
    page.visit(runs["finished"].report_file)
    page.run("document.getElementById('candidate-3-0').open = true")
    page.run("document.getElementById('candidate-3-0').scrollIntoView()")
    for chart in ("curves-chart", "candidate-3-0-alarm", "candidate-3-0-parts"):
        page.wait(f"return document.querySelector('#{chart} canvas')")
        assert page.run(f"return document.getElementById('{chart}').ariaLabel").endswith(".")


def test_a_node_of_the_tree_leads_to_its_candidate(
    page: Browser, runs: dict[str, RunDirectory]
) -> None:
    from selenium.webdriver.common.keys import Keys

    page.visit(runs["finished"].report_file)
    assert not page.run("return document.getElementById('candidate-2-0').open")
    page.driver.find_element("id", "node-candidate-2-0").send_keys(Keys.ENTER)
    page.wait("return document.getElementById('candidate-2-0').open")
    assert page.run("return document.activeElement.id") == "candidate-2-0-summary"
    lineage = "return [...document.querySelectorAll('.tree .edge.family')].map((e) => e.dataset.to)"
    assert sorted(page.run(lineage)) == ["2/0", "3/0"]


def test_the_table_sorts_and_keeps_the_focus(page: Browser, runs: dict[str, RunDirectory]) -> None:
    page.visit(runs["finished"].report_file)
    rows = (
        "return [...document.querySelectorAll('#candidates-table tbody tr')]"
        ".map((row) => row.querySelector('a').textContent)"
    )
    assert page.run(rows)[0] == "1/0"
    page.driver.find_element("id", "sort-fitness").click()
    assert page.run(rows)[:3] == ["3/0", "2/0", "1/0"]
    assert page.run("return document.activeElement.id") == "sort-fitness"
    page.driver.find_element("id", "sort-fitness").click()
    assert page.run(rows)[:2] == ["1/1", "1/0"], "what has no value stays at the end"
    head = "return document.getElementById('sort-fitness').closest('th').ariaSort"
    assert page.run(head) == "ascending"


def test_candidates_can_be_taken_off_the_chart(
    page: Browser, runs: dict[str, RunDirectory]
) -> None:
    page.visit(runs["finished"].report_file)
    label = "return document.getElementById('curves-chart').ariaLabel"
    assert "1/1 0.00" in page.run(label)
    page.driver.find_element("id", "line-1/1").click()
    assert "1/1" not in page.run(label)


def test_code_and_what_changed_are_a_choice(page: Browser, runs: dict[str, RunDirectory]) -> None:
    page.visit(runs["finished"].report_file)
    page.run("document.getElementById('candidate-3-0').open = true")
    page.wait("return document.getElementById('candidate-3-0-code')")
    page.driver.find_element("id", "candidate-3-0-view-diff").click()
    assert "+    near = 4.0" in text(page, "#candidate-3-0-diff .added")


@pytest.mark.slow
def test_hundreds_of_candidates_stay_small_and_usable(page: Browser, tmp_path: Path) -> None:
    run = many(tmp_path / "point", 400)
    write_report(run)
    assert run.report_file.stat().st_size < 3_000_000
    page.visit(run.report_file)
    page.resize(390)
    assert page.overflow() == 0
    assert page.messages() == []


def test_runs_side_by_side(page: Browser, runs: dict[str, RunDirectory], tmp_path: Path) -> None:
    folders = [str(runs[name].root) for name in ("finished", "return", "running")]
    file = tmp_path / "comparison.html"
    result = CliRunner().invoke(app, ["compare", *folders, "--output", str(file)])
    assert result.output.strip() == str(file)
    page.visit(file)
    assert "0.99 [0.93, 1.00]" in text(page, "#winners")
    assert "cannot be compared" in text(page, "#winners")
    assert page.violations() == []
    for width in (1280, 390):
        page.resize(width)
        assert page.overflow() == 0
    assert page.messages() == []
    link: Any = page.run("return document.querySelector('#runs a').href")
    assert link == runs["finished"].report_file.as_uri()
