"""What ``rewardsmith doctor`` looks at: would a run work here, and what would be missing.

Whatever could hang or crash (graphics, accelerators) is tried in a child process with a time limit
and without keys; a reward process locks down a child as in a run. Providers are asked for their
list of models, which costs nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import rewardsmith
from rewardsmith import config as configuration
from rewardsmith.errors import RewardsmithError
from rewardsmith.installed import Package, packages
from rewardsmith.llm.auto import choose_provider
from rewardsmith.llm.keys import without_secrets
from rewardsmith.llm.reach import Reach, reach
from rewardsmith.reward.lockdown import LAYERS
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import LLMSettings, SandboxSettings, Settings
from rewardsmith.training.population.cache import cache_folder
from rewardsmith.types import Field, TransitionLayout

CHILD_S = 90.0
LITTLE_MEMORY, LITTLE_DISK, NO_DISK = 2 << 30, 1 << 30, 100 << 20
GRAPHICS = {"EGL": "libegl1 libgl1-mesa-dri libopengl0", "OSMesa": "libosmesa6"}
"""Ways to render without a screen, and their Debian packages."""

_FRAME = """
import sys, mujoco
world = '<mujoco><worldbody><light pos="0 0 3"/><geom size="1"/></worldbody></mujoco>'
model = mujoco.MjModel.from_xml_string(world)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 48, 64)
renderer.update_scene(data)
seen = renderer.render().any()
renderer.close()
sys.exit("the frame is black" if not seen else 0)
"""
_JAX = "import jax; print(*{f'{d.platform}: {d.device_kind}' for d in jax.devices()}, sep=', ')"
_TORCH = "import torch as t; print(t.cuda.is_available() and t.cuda.get_device_name(0) or '')"


class State(str, Enum):
    """How it looks."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """One line of the answer.

    Attributes:
        topic: what was looked at.
        state: `State.BAD` if a run with this configuration would not work because of it.
        text: what was found.
        advice: what to do, empty if nothing.
    """

    topic: str
    state: State
    text: str
    advice: str = ""


def examine(settings: Settings, environment: Mapping[str, str]) -> list[Check]:
    """Look at everything; takes as long as importing torch and jax does.

    Args:
        settings: of the run that is planned.
        environment: with the keys of providers.
    """
    looks: list[Callable[[], Iterable[Check]]] = [
        _python,
        _packages,
        _machine,
        _jax,
        _torch,
        _rendering,
        lambda: _sandbox(settings.sandbox),
        lambda: _providers(settings.llm, environment),
        lambda: _folder("results", Path(settings.paths.results)),
        _cache,
    ]
    with ThreadPoolExecutor(4) as pool:
        return [check for found in pool.map(lambda look: list(look()), looks) for check in found]


# -- the installation -----------------------------------------------------------------------------


def _python() -> Iterable[Check]:
    version = platform.python_version()
    text = f"rewardsmith {rewardsmith.__version__}, Python {version}, {platform.platform()}"
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        yield Check("versions", State.OK, text)
    else:
        yield Check("versions", State.BAD, text, "Use Python 3.10 to 3.13.")


def _packages() -> Iterable[Check]:
    needed, extras = packages()
    wrong = [item for item in needed if not item.fits]
    if wrong:
        listed = ", ".join(map(_described, wrong))
        install = " ".join(f"'{item.requirement}'" for item in wrong)
        yield Check("packages", State.BAD, f"wrong: {listed}", f"pip install {install}")
    fine = ", ".join(_described(item) for item in needed if item.fits)
    yield Check("packages", State.OK, fine)
    yield from _extras(extras)


def _extras(extras: Mapping[str, Sequence[Package]]) -> Iterable[Check]:
    there = {name: items for name, items in extras.items() if all(item.fits for item in items)}
    absent = sorted(extras.keys() - there.keys())
    listed = [f"{name} ({', '.join(map(_described, there[name]))})" for name in sorted(there)]
    text = f"installed: {', '.join(listed) or 'none'}; absent: {', '.join(absent) or 'none'}"
    advice = f"If wanted: pip install 'rewardsmith[{absent[0]}]'" if absent else ""
    yield Check("extras", State.OK, text, advice)


def _described(package: Package) -> str:
    return f"{package.name} {package.version or 'missing'}"


# -- the machine ----------------------------------------------------------------------------------


def _machine() -> Iterable[Check]:
    allowed = getattr(os, "sched_getaffinity", None)
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    yield Check("cores", State.OK, f"{cores} of {os.cpu_count() or cores}")
    total, free = _memory()
    if total is None or free is None:
        return
    text = f"{_gib(free)} free of {_gib(total)}"
    little = free < LITTLE_MEMORY
    advice = "Close something, or lower training.workers." if little else ""
    yield Check("memory", State.NOTE if little else State.OK, text, advice)


def _memory() -> tuple[int | None, int | None]:
    """Total and free memory in bytes; of a container, its limit."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        values = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}
        total, free = values["MemTotal"], values["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        return None, None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        return min(total, limit), min(free, max(0, limit - used))
    except (OSError, ValueError):  # no container, or no limit ("max")
        return total, free


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"


def _child(code: str, **variables: str) -> tuple[bool, str]:
    """Run code in a child; give whether it ended well, and its output or its last complaint."""
    environment = {**without_secrets(dict(os.environ)), **variables}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CHILD_S,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {CHILD_S:g} s"
    if done.returncode == 0:
        return True, done.stdout.strip()
    complaint = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
    return False, complaint[-1].strip()


def _jax() -> Iterable[Check]:
    works, text = _child(_JAX)
    if not works:
        yield Check("JAX", State.BAD, text, "pip install -U jax; training=sb3 does without.")
    elif text.startswith("cpu") and Path("/dev/nvidia0").exists():
        advice = "To learn on the GPU: pip install 'jax[cuda12]'"
        yield Check("JAX", State.NOTE, f"{text}, although there is an NVIDIA GPU", advice)
    else:
        yield Check("JAX", State.OK, f"learns on {text.removesuffix(': cpu')}")


def _torch() -> Iterable[Check]:
    works, text = _child(_TORCH)
    if not works:
        yield Check("torch", State.BAD, text, "Install torch anew: https://pytorch.org")
    else:
        yield Check("torch", State.OK, f"sees {text}" if text else "sees no GPU; none is needed")


def _rendering() -> Iterable[Check]:
    found = {way: _child(_FRAME, MUJOCO_GL=way.lower()) for way in GRAPHICS}
    working = [way for way, (works, _) in found.items() if works]
    if working:
        screen = "a screen is there" if os.environ.get("DISPLAY") else "no screen for windows"
        text = f"{' and '.join(working)} can make videos; {screen}"
        yield Check("rendering", State.OK, text)
        return
    text = "; ".join(f"{way}: {reason}" for way, (_, reason) in found.items())
    advice = f"apt-get install {GRAPHICS['EGL']} (or {GRAPHICS['OSMesa']}); without, no videos."
    yield Check("rendering", State.NOTE, text, advice)


# -- the sandbox ----------------------------------------------------------------------------------


def _sandbox(limits: SandboxSettings) -> Iterable[Check]:
    layout = TransitionLayout((Field("speed", "observation[0]", 0, 1, scalar=True),), 1, 1)
    try:
        with RewardProcess(layout, limits) as process:
            layers = process.layers
    except RewardsmithError as error:
        yield Check("sandbox", State.BAD, str(error))
        return
    except Exception as error:
        text = f"No reward process can be started: {type(error).__name__}: {error}"
        yield Check("sandbox", State.BAD, text, "Look whether processes and memory are limited.")
        return
    text = ", ".join(layers).replace("_", " ")
    missing = [name for name in LAYERS if name not in layers]
    if not missing:
        yield Check("sandbox", State.OK, text)
    elif missing == ["landlock"]:
        advice = "It comes with Linux 5.13; until then seccomp alone keeps files from rewards."
        yield Check("sandbox", State.NOTE, f"{text}; no Landlock", advice)
    else:
        text = f"weaker, as allowed: no {', '.join(missing).replace('_', ' ')}"
        advice = "Run only rewards that you trust here, or go to Linux with seccomp."
        yield Check("sandbox", State.NOTE, text, advice)


# -- providers ------------------------------------------------------------------------------------


def _providers(llm: LLMSettings, environment: Mapping[str, str]) -> Iterable[Check]:
    """The one that a run would ask, then those whose key is there, then servers of this machine."""
    name, why = (llm.provider, "as configured")
    if name == "auto":
        name, why = choose_provider(llm, environment)
    settings = configuration.provider_settings()
    if name in ("builtin", "replay"):
        yield _without_model(name, why)
    else:
        changes = {key: getattr(llm, key) for key in ("base_url", "model") if getattr(llm, key)}
        chosen = settings[name].model_copy(update=changes)
        yield _reached(reach(chosen, environment), needed=True)
    for other, values in settings.items():
        if other == name or values.target != settings["openai"].target:
            continue
        if values.key_variable and environment.get(values.key_variable, "").strip():
            yield _reached(reach(values, environment))
        elif not values.key_required and values.default_base_url:
            local = reach(values, environment, timeout_s=1.0)
            if local.answer in ("answers", "doubtful"):
                yield _reached(local)


def _without_model(name: str, why: str) -> Check:
    if name == "replay":
        return Check("provider", State.OK, "a recorded run answers")
    text = f"{why}: the built-in designer, which is no language model, writes the rewards"
    advice = "For a language model set OPENAI_API_KEY or GROQ_API_KEY, here or in .env."
    return Check("provider", State.OK, text, advice)


def _reached(found: Reach, needed: bool = False) -> Check:
    state = State.OK if found.answer == "answers" else State.NOTE
    if needed and found.answer in ("refused", "unreachable", "unusable"):
        state = State.BAD
    return Check("provider", state, f"{found.provider}: {found.text}", found.advice)


# -- folders --------------------------------------------------------------------------------------


def _folder(topic: str, folder: Path) -> Iterable[Check]:
    existing = next((item for item in (folder, *folder.parents) if item.exists()), Path())
    problem = _unwritable(existing)
    if problem:
        advice = "Choose another place with paths.results=FOLDER."
        yield Check(topic, State.BAD, f"{folder}: {problem}", advice)
        return
    free = shutil.disk_usage(existing).free
    text = f"{folder}{'' if existing == folder else ' (will be made)'}: {_gib(free)} free"
    state = State.BAD if free < NO_DISK else State.NOTE if free < LITTLE_DISK else State.OK
    advice = "Make room, or choose another place with paths.results=FOLDER."
    yield Check(topic, state, text, "" if state is State.OK else advice)


def _unwritable(folder: Path) -> str:
    """Why nothing can be written there, empty if it can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"cannot be written to ({error.strerror})"


def _cache() -> Iterable[Check]:
    folder = cache_folder()
    existing = next((item for item in (folder, *folder.parents) if item.exists()), Path("/"))
    problem = _unwritable(existing)
    if problem:
        advice = "Name another with JAX_COMPILATION_CACHE_DIR, or each run compiles anew."
        yield Check("compiled", State.NOTE, f"{folder} {problem}", advice)
        return
    count = sum(1 for _ in folder.glob("*-cache")) if folder.is_dir() else 0
    text = f"{count} compiled functions in {folder}" if count else f"none yet in {folder}"
    yield Check("compiled", State.OK, text)
