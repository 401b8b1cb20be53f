"""Write the pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rewardsmith.files import write_whole
from rewardsmith.page.comparison import compare
from rewardsmith.page.data import collect
from rewardsmith.page.render import render, render_comparison
from rewardsmith.results import RunDirectory


def write_report(run: RunDirectory) -> Path:
    """Write ``report.html`` of a run, anew; give its path.

    Raises:
        ResultsError: a file of the run is damaged, or the report cannot be written.
        ConfigurationError: the run's configuration cannot be read.
    """
    run.write_report(render(collect(run), "report"))
    return run.report_file


def write_comparison(runs: Sequence[RunDirectory], output: Path) -> Path:
    """Write one page that sets runs side by side; give its path.

    Raises:
        ResultsError: a file of a run is damaged, or the page cannot be written.
        ConfigurationError: the configuration of a run cannot be read.
    """
    write_whole(output, render_comparison(compare(runs, output)))
    return output
