"""The house: who imports whom, where code is executed, and that every shipped file is sound."""

import ast
import re
from pathlib import Path

import pytest

from tests.runs import ROOT

PACKAGE = ROOT / "rewardsmith"
MODULES = sorted(PACKAGE.rglob("*.py"))
# who may import whom: a module may import from layers below its own
LAYERS = [
    {"errors", "types"},
    {"settings", "files", "experience", "notices", "installed"},
    {"tasks", "llm", "reward", "execution", "results"},
    {"search", "training", "evaluation", "standalone", "worker"},
    {"headline", "video"},
    {"summary"},
    {"loop", "config"},
    {"words", "progress"},
    {"console", "doctor", "export", "inspection", "metrics", "replaying"},
    {"page", "tracking"},
    {"assembly"},
    {"cli"},
    {"commands"},
    {"__main__"},
]
WITHIN_A_LAYER = {("execution", "llm"), ("training", "evaluation"), ("words", "progress")}
CORNERS = {
    "torch": {
        "training/sb3_worker.py",
        "training/normalize.py",
        "training/population/export.py",
        "training/population/weights.py",
    },
    "stable_baselines3": {
        "training/sb3_worker.py",
        "training/normalize.py",
        "training/population/export.py",
    },
    "openai": {"llm/chat.py", "llm/failures.py", "llm/reach.py", "llm/retries.py"},
    "hydra": {"cli.py", "config.py"},
    "jax": {"training/population/learner.py"},
    "ray": {"execution/ray.py"},
    "submitit": {"execution/slurm.py"},
    "wandb": set(),  # by import_module, in rewardsmith/tracking
    "trackio": set(),
    "huggingface_hub": set(),  # by import_module, in rewardsmith/export.py
}
FORBIDDEN_CALLS = {
    "exec": {"reward/server.py"},
    "eval": set(),
    "compile": {"reward/server.py"},
}


def relative(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def part(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_imports_go_down_only(module: Path) -> None:
    own = part(module)
    if own == "__init__":
        return
    level = next(number for number, layer in enumerate(LAYERS) if own in layer)
    for name in imports(module):
        if not name.startswith("rewardsmith."):
            continue
        other = name.split(".")[1]
        known = [number for number, layer in enumerate(LAYERS) if other in layer]
        if not known or other == own:
            continue
        assert known[0] < level or (own, other) in WITHIN_A_LAYER, f"{own} imports {other}"


@pytest.mark.parametrize("library", CORNERS)
def test_large_libraries_stay_in_their_corners(library: str) -> None:
    users = {
        relative(module)
        for module in MODULES
        if any(name.split(".")[0] == library for name in imports(module))
    }
    assert users <= CORNERS[library]


def test_generated_code_is_executed_in_one_file_and_nothing_is_unpickled() -> None:
    for module in MODULES:
        text = module.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                allowed = FORBIDDEN_CALLS.get(node.func.id)
                assert allowed is None or relative(module) in allowed, f"{module}: {node.func.id}"
        assert not re.search(r"\bpickle\.loads?\b|\bimport pickle\b|allow_pickle=True", text), (
            module
        )


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_every_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text()))


def test_main_process_starts_without_the_learners_libraries() -> None:
    reachable: set[Path] = set()
    pending = [PACKAGE / "cli.py"]
    while pending:
        module = pending.pop()
        if module in reachable:
            continue
        reachable.add(module)
        for name in imports(module):
            path = PACKAGE.joinpath(*name.split(".")[1:-1])
            pending += [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()]
    loaded = {name.split(".")[0] for module in reachable for name in imports(module)}
    assert not loaded & {"torch", "stable_baselines3", "jax", "ray"}
