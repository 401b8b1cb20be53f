"""The notebook in ``examples/`` runs from top to bottom, and is kept without what it printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runs import ROOT

NOTEBOOK = ROOT / "examples" / "first_reward.ipynb"
TINY = """
CANDIDATES, ITERATIONS, SEEDS, FINAL_SEEDS = 2, 1, 1, 1
TOTAL_TIMESTEPS = 60
TRAINING_STEPS = 120
MORE = [
    "training.checkpoints=1", "training.checkpoint_episodes=1", "training.workers=1",
    "env.tuned.learning_starts=20", "experiment.evaluation_episodes=2",
    "experiment.test_episodes=2", "experiment.races=0", "~env.baselines",
    "video.episodes=0",
]
"""


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] for cell in code)
    assert all(cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the extra `docs` is not installed")
    nbformat = pytest.importorskip("nbformat", reason="the extra `docs` is not installed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("OPENAI_API_KEY", "GROQ_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    [parameters] = [
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
    ]
    parameters.source = TINY
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    for part in ("the task's own success", "1/0", "winner", "def compute_reward", "own return"):
        assert part in printed
