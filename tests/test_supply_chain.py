"""What is installed: pinned with hashes, nothing beside it, licences known, listed for others."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import list_licences, pin_requirements
from scripts.pin_requirements import FILES, GPU, Pins, read
from tests import pins as check
from tests.runs import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PERMISSIVE = set(
    "0BSD Apache-2.0 BSD BSD-2-Clause BSD-3-Clause BSL-1.0 CC0-1.0 ISC LLVM-exception MIT MIT-0 "
    "MIT-CMU PSF-2.0 Zlib".split()
)
# tools and extras, none of which we ship: docs/licences.md says what follows from that
COPYLEFT = {
    "axe-selenium-python": "MPL-2.0",
    "certifi": "MPL-2.0",
    "codespell": "GPL-2.0-only",
    "fqdn": "MPL-2.0",
    "hypothesis": "MPL-2.0",
    "orjson": "MPL-2.0 AND (Apache-2.0 OR MIT)",
    "pathspec": "MPL-2.0",
    "tqdm": "MPL-2.0 AND MIT",
}
GOOD_HASH = f"--hash=sha256:{'0' * 64}"


def pinned(file: Path) -> Pins:
    return read(file.read_text(encoding="utf-8"))


RUN, DEV, LOCK, BUILD = map(pinned, FILES)


@pytest.fixture(scope="module")
def made_by_make() -> None:
    """Only such an environment has what is pinned now."""
    stamp = Path(sys.prefix) / "dev.stamp"
    if not stamp.exists() or stamp.stat().st_mtime < FILES[1].stat().st_mtime:
        pytest.skip("this environment was not made by `make test` from these requirements")


# -- pins -------------------------------------------------------------------------------------


def test_every_requirement_is_one_version_with_hashes() -> None:
    assert len(RUN) > 50 and len(DEV) > 100 and len(BUILD) == 2
    assert check.faulty_lines(LOCK) == check.faulty_lines(BUILD) == []
    assert (RUN | DEV).keys() <= LOCK.keys()
    for file in FILES:
        lines = file.read_text(encoding="utf-8").splitlines()
        rest = [line for line in lines if not re.match(r"\w|#|\s+--hash=", line)]
        assert rest == (["-r requirements.txt"] if file.name == "requirements-dev.txt" else [])


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        f"numpy {GOOD_HASH}",
        "numpy==2.4.6",
        f"numpy>=2.4.6 {GOOD_HASH}",
        f"numpy==2.* {GOOD_HASH}",
        "numpy==2.4.6 --hash=md5:0123",
        f"numpy @ https://example.org/numpy.whl {GOOD_HASH}",
    ],
)
def test_a_line_without_a_version_or_a_hash_is_found(line: str) -> None:
    good = f"gymnasium==1.4.0 ; python_full_version >= '3.11' \\\n    {GOOD_HASH}\n"
    assert check.faulty_lines(read(good)) == []
    assert len(check.faulty_lines(read(good + line))) == 1


def test_every_dependency_of_the_project_is_pinned() -> None:
    assert check.unpinned(PROJECT, LOCK) == []


def test_a_new_dependency_without_a_pin_is_found() -> None:
    project = {
        "build-system": {"requires": []},
        "project": {
            "dependencies": ["numpy>=1.26", "left-pad>=1"],
            "optional-dependencies": {"new": ["rich>=99", "jax>=0.6"]},
        },
    }
    assert check.unpinned(project, LOCK) == ["left-pad>=1", "rich>=99"]


def test_all_that_is_installed_is_pinned(made_by_make: None) -> None:
    assert check.strays(LOCK, check.declared(PROJECT)) == []


class Installed(Distribution):
    """A made-up package."""

    def __init__(self, version: str, *requires: str) -> None:
        self._metadata = Message()
        self._metadata["Version"] = version
        for line in requires:
            self._metadata["Requires-Dist"] = line

    @property
    def metadata(self) -> Message:  # type: ignore[override]
        return self._metadata

    def read_text(self, filename: str) -> None:
        return None

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


def test_what_a_dependency_brings_along_unpinned_or_otherwise_is_found() -> None:
    packages = {
        "a": Installed("1.0+cpu", "b[fast]", "never; sys_platform == 'nowhere'"),
        "b": Installed("2.0", "c; extra == 'fast'", "d; extra == 'slow'"),
        "c": Installed("3.1", "hidden"),
    }
    pins: Pins = {line: [GOOD_HASH] for line in ("a==1.0", "b==2.0", "c==3.0")}
    found = check.strays(pins, [Requirement("a")], packages.__getitem__)
    assert found == ["c 3.1 is installed, pinned is 3.0", "hidden is not pinned"]


def test_what_is_imported_is_declared(tmp_path: Path) -> None:
    direct = {canonicalize_name(item.name) for item in check.declared(PROJECT)}
    own = {"rewardsmith", "scripts", "tests", "benchmarks"}
    package = sorted((ROOT / "rewardsmith").rglob("*.py"))
    assert check.undeclared(package, direct, own) == []
    around = [file for name in ("scripts", "tests") for file in sorted((ROOT / name).rglob("*.py"))]
    everything = set(check.versions(map(Requirement, LOCK)))
    assert check.undeclared(around, everything | {"pyseccomp"}, own) == []
    (tmp_path / "new.py").write_text("import json, pytest\ndef f():\n    import numpy.linalg\n")
    found = check.undeclared([tmp_path / "new.py"], {"numpy"}, own)
    assert found == ["new.py imports pytest"]


def test_nobody_edits_the_pins_by_hand(tmp_path: Path) -> None:
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        heading = re.findall(r"^(?:# )?(\D.*)$", text.partition("==")[0], re.MULTILINE)[1:-1]
        pin_requirements.write(tmp_path / "again.txt", heading, pinned(file), "--hash" in text)
        assert (tmp_path / "again.txt").read_text() == text, f"run `make requirements`: {file.name}"


# -- torch ------------------------------------------------------------------------------------


def test_torch_is_accepted_from_both_indexes() -> None:
    [torch] = [line for line in RUN if line.startswith("torch==")]
    wheels = pin_requirements.CPU_WHEELS.read_text()
    cpu = {f"--hash=sha256:{line.split()[0]}" for line in wheels.splitlines()}
    assert len(cpu) == 7
    assert cpu < set(LOCK[torch])
    with pytest.raises(SystemExit, match=r"knows no CPU wheel of torch 9\.0"):
        pin_requirements.with_cpu_build({"torch==9.0": []}, wheels)


def test_gpu_libraries_are_locked_and_not_required() -> None:
    assert not [line for line in RUN | DEV if GPU.match(line)]
    assert {line for line in LOCK if GPU.match(line)} == LOCK.keys() - RUN.keys() - DEV.keys()
    assert "triton" in check.versions(map(Requirement, LOCK))


def wheel(folder: Path, name: str, version: str, *requires: str) -> str:
    """Build an empty wheel; give its requirement with its hash."""
    file = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    with ZipFile(file, "w") as archive:
        archive.writestr(f"{info}/METADATA", "\n".join(["Metadata-Version: 2.1", *metadata, ""]))
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


@pytest.mark.slow
def test_pip_checks_gpu_libraries_where_torch_asks_for_them(
    made_by_make: None, tmp_path: Path
) -> None:
    def install(torch: str, lock: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "lock.txt").write_text(lock)
        pip = [sys.executable, "-m", "pip", "--isolated", "install", "--dry-run", "--no-index"]
        options = ["--ignore-installed", "--require-hashes", "--find-links", str(tmp_path)]
        command = [*pip, *options, "--constraint", str(tmp_path / "lock.txt"), torch]
        return subprocess.run(command, capture_output=True, text=True)

    library = wheel(tmp_path, "made_up_cuda", "13.0.3.0")
    cpu = wheel(tmp_path, "made_up_torch", "2.13.0")
    without = install("made_up_torch==2.13.0", cpu + library)
    assert without.returncode == 0, without.stderr
    assert "cuda" not in without.stdout

    gpu = wheel(tmp_path, "made_up_torch", "2.13.0", "made_up_cuda[cublas]<14,>=13.0")
    asked = install("made_up_torch==2.13.0", gpu + library)
    assert asked.returncode == 0, asked.stderr
    assert "cuda-13.0.3.0" in asked.stdout
    wrong = re.sub("sha256:.*", f"sha256:{'0' * 64}", library)
    assert "DO NOT MATCH" in install("made_up_torch==2.13.0", gpu + wrong).stderr
    assert install("made_up_torch==2.13.0", gpu).returncode != 0, "an unlocked library was accepted"


# -- what is shipped, and listed for others ---------------------------------------------------


def test_the_page_ships_what_was_published() -> None:
    folder = ROOT / "rewardsmith" / "page" / "vendor" / "uplot"
    note = (folder / "README.md").read_text()
    listed = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", note, re.MULTILINE))
    shipped = {file for file in folder.iterdir() if file.name != "README.md"}
    assert set(listed.values()) == {file.name for file in shipped}
    for digest, name in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert "uPlot 1.6.32" in note
    assert "MIT" in (folder / "LICENSE").read_text()


def test_what_npm_installs_for_tests_is_locked() -> None:
    folder = ROOT / "tests" / "data" / "aimock"
    [(name, version)] = json.loads((folder / "package.json").read_text())["dependencies"].items()
    lock = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert set(lock) == {"", f"node_modules/{name}"}
    assert lock[f"node_modules/{name}"]["version"] == version
    assert lock[f"node_modules/{name}"]["integrity"].startswith("sha512-")
    used = {
        found
        for file in (ROOT / "tests" / "llm").glob("*.py")
        for found in re.findall(r'^VERSION = "([^"]+)"$', file.read_text(), re.MULTILINE)
    }
    assert used == {version}


def rows(heading: str) -> dict[str, str]:
    page = list_licences.PAGE.read_text(encoding="utf-8")
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| ([a-z0-9-]+) \| \d[^|]+ \| ([^|]+) \|$", section, re.MULTILINE)
    return dict(listed)


def test_licences_are_listed_and_allowed() -> None:
    run, more = rows("What a run needs"), rows("Tests, docs and extras")
    assert set(run) == set(list_licences.pinned("requirements.txt"))
    assert set(run) | set(more) == {
        name for file in FILES[:2] for name in list_licences.pinned(file.name)
    }
    for name, licence in {**more, **run}.items():
        parts = set(re.split(r"[()\s]+(?:AND|OR|WITH)[()\s]+", licence.strip("()")))
        if not parts <= PERMISSIVE:
            assert name not in run, f"{name} is under {licence}"
            assert COPYLEFT.get(name) == licence, f"{name} is under {licence}"
            assert f"`{name}`" in list_licences.PAGE.read_text()


@pytest.mark.slow
def test_the_list_of_licences_is_what_the_packages_say(made_by_make: None) -> None:
    page = list_licences.PAGE.read_text(encoding="utf-8")
    _, mark, below = page.partition(list_licences.MARK)
    assert mark and below.strip() == list_licences.render().strip(), "run `make licences`"


def test_the_page_on_licences_is_right_about_ffmpeg() -> None:
    import imageio_ffmpeg

    program = imageio_ffmpeg.get_ffmpeg_exe()
    if Path(imageio_ffmpeg.__file__).parent not in Path(program).parents:
        pytest.skip("ffmpeg is not the one inside the wheel")
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout
    assert "--enable-gpl" in said and "--enable-version3" in said


@pytest.mark.slow
def test_the_bill_of_materials_is_valid_and_the_same_each_time() -> None:
    pytest.importorskip("cyclonedx_py", reason="the extra `supply` is not installed")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    from scripts import make_sbom

    text = make_sbom.generate()
    assert text == make_sbom.generate()
    bill = json.loads(text)
    components = bill["components"]
    listed = {(item["name"], item.get("version")) for item in components}
    wanted = [Requirement(line) for line in LOCK if line in RUN or GPU.match(line)]
    expected = {(item.name, str(item.specifier).removeprefix("==")) for item in wanted}
    assert listed == expected | {("uplot", "1.6.32"), ("ffmpeg", None)}
    # all of one making: a few are enough, and spare a second for every dozen
    kept = [
        item for item in components if item["name"] in ("ffmpeg", "jax", "torch", "triton", "uplot")
    ]
    assert len(kept) == 6
    few = json.dumps({**bill, "components": kept, "dependencies": []})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(few) is None
    wrong = few.replace('"library"', '"book"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(wrong) is not None


def test_make_installs_only_what_has_a_pinned_hash() -> None:
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installing = [line for line in text.splitlines() if re.search(r"pip install|INSTALL\)", line)]
    assert len(installing) == 5
    for line in installing:
        assert "--require-hashes" in line or line.strip().startswith("$(INSTALL) -"), line
