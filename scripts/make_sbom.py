"""Write sbom.cdx.json: what rewardsmith installs and ships, as CycloneDX.

`cyclonedx-py` reads what a run needs, with versions, hashes and markers for every Python and
system; added is what no requirement names. The same pins give the same bytes. Run by `make sbom`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.pin_requirements import FILES, GPU, ROOT, read

OUT = ROOT / "sbom.cdx.json"
NOT_REQUIRED: tuple[dict[str, Any], ...] = (
    {
        "type": "library",
        "name": "uplot",
        "version": "1.6.32",
        "purl": "pkg:npm/uplot@1.6.32",
        "description": "Shipped in rewardsmith/page/vendor and inside every report",
        "licenses": [{"license": {"id": "MIT"}}],
    },
    {
        "type": "application",
        "name": "ffmpeg",
        "purl": "pkg:generic/ffmpeg",
        "description": "The program inside the wheel of imageio-ffmpeg, which chooses its version",
        "licenses": [{"license": {"id": "GPL-3.0-or-later"}}],
    },
)


def generate() -> str:
    """Build the bill of materials of this checkout."""
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements"]
    options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--no-validate"]
    done = subprocess.run(
        [*command, *options, "-"], cwd=ROOT, input=required(), capture_output=True, check=True
    )
    bill = json.loads(done.stdout)
    components = [*map(described, bill["components"]), *NOT_REQUIRED]
    # by what they are; the tool names them by the lines that it read
    named = [{**component, "bom-ref": component["purl"]} for component in components]
    bill["components"] = sorted(named, key=lambda component: component["bom-ref"])
    references = [component["bom-ref"] for component in bill["components"]]
    root = bill["metadata"]["component"]["bom-ref"]
    bill["dependencies"] = [
        {"ref": root, "dependsOn": references},
        *({"ref": reference} for reference in references),
    ]
    return json.dumps(bill, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def required() -> bytes:
    """What a run needs, with its hashes, and the GPU libraries that torch may ask for."""
    run, _, lock, _ = (read(file.read_text(encoding="utf-8")) for file in FILES)
    chosen = [line for line in lock if line in run or GPU.match(line)]
    return "\n".join(" ".join([line, *lock[line]]) for line in chosen).encode()


def described(component: dict[str, Any]) -> dict[str, Any]:
    """Say where a requirement applies; GPU libraries are installed only where torch wants them."""
    line = re.sub(r"^requirements line \d+: | +--hash.*", "", component["description"])
    gpu = {"scope": "optional"} if GPU.match(line) else {}
    return {**component, **gpu, "description": line}


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.write_text(generate(), encoding="utf-8")
    print(out)
