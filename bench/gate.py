"""`python -m bench.gate [NAME ...]`: run the benchmarks and compare their ratios with floors.toml.

If a ratio is below its floor, or a script has no floors or floors have no script, the gate names each and exits with 1.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent
NOT_IN_THE_GATE = {
    *("__init__", "gate", "harness"),
    *("documents", "planted", "recombine", "truth", "datatrove_fineweb", "plain_gpt"),
}
NEED_A_GPU = {"pretrain_gpu"}


def run(name: str) -> dict[str, float]:
    """The ratios that one benchmark reports; its lines are shown as they come."""
    command = [sys.executable, "-m", f"bench.{name}", "--json"]
    last = ""
    with subprocess.Popen(command, cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            last = line
            if not line.startswith("{"):
                print(line, end="", flush=True)
    if process.returncode:
        sys.exit(f"bench.{name}: exit code {process.returncode}")
    ratios: dict[str, float] = json.loads(last)["ratios"]
    return ratios


def main() -> None:
    floors = tomllib.loads((FOLDER / "floors.toml").read_text())
    scripts = {path.stem for path in FOLDER.glob("*.py")} - NOT_IN_THE_GATE
    problems = [f"{name}: in floors.toml or in bench/, but not in both" for name in sorted(scripts ^ floors.keys())]
    names = sys.argv[1:] or sorted(scripts & floors.keys())
    if not shutil.which("nvidia-smi"):
        for name in NEED_A_GPU & set(names):
            print(f"{name}: needs a GPU, left out")
        names = [name for name in names if name not in NEED_A_GPU]
    for name in names:
        ratios = run(name)
        for peer, floor in floors[name].items():
            if not ratios.get(peer, 0) >= floor:
                problems.append(f"{name}: {peer} {ratios.get(peer, 0):.2f}x, the floor is {floor}x")
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
