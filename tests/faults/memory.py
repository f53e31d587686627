"""Does a worker grow? `python -m tests.faults.memory --passes 50`.

One worker process takes the six WARC files of real pages through FineWeb's stages before deduplication, again and
again, each time into a new folder. Its resident memory is noted after each pass. In the first passes it grows, because
models are loaded, caches are filled and malloc keeps memory; from then on it should stay within a tenth. Prints a line
for each pass. The exit code is 1 if the memory grows further, or if a pass fails.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import re
import sys
import tempfile
import time
from pathlib import Path

from corpus.engine.base import Limits
from corpus.engine.local import LocalEngine
from corpus.inputs import find_source, source_keys
from corpus.pipeline import documents_pass
from corpus.run.execute import run_pass
from corpus.run.recipe import load_recipe
from tests.faults.soak import resident
from tests.support.paths import REPOSITORY, TESTDATA

SETTLED = 5  # passes after which a worker should grow no more
TOLERANCE = 0.10


def one_pass(engine: LocalEngine, output: str) -> list[str]:
    """Take all pages through the stages once; returns the units that failed, and why."""
    recipe = load_recipe(REPOSITORY / "recipes/fineweb.toml")
    steps = list(itertools.takewhile(lambda step: step.stage != "dedup", recipe.steps))
    source = find_source([str(TESTDATA.resolve() / "warc" / "DEV-*.warc.gz")])
    plan = documents_pass("documents", source, source_keys(source), steps, output, recipe)
    summary = run_pass(plan, engine, lambda event: None)
    return [f"{failure.unit}: {failure.reason}" for failure in summary.failures]


def peak(process: int) -> int:
    """Peak resident memory of a process in MiB (VmHWM in proc(5))."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) >> 10


def deviation(sizes: list[int]) -> float:
    """The largest relative deviation of a size from the size after the first `SETTLED` passes."""
    settled = sizes[min(SETTLED, len(sizes)) - 1]
    return max((abs(size / settled - 1) for size in sizes[SETTLED:]), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=50)
    arguments = parser.parse_args()
    if not TESTDATA.is_dir():
        sys.exit(f"no test data at {TESTDATA}: set CORPUS_TESTDATA to the folder that holds warc/")
    sizes: list[int] = []
    seen: set[int] = set()
    with LocalEngine(1, Limits(recycle=0)) as engine:
        for number in range(1, arguments.passes + 1):
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                if failures := one_pass(engine, f"{folder}/documents"):
                    sys.exit("\n".join(failures))
            (worker,) = (child.pid or 0 for child in multiprocessing.active_children())
            seen.add(worker)
            sizes.append(resident(worker))
            seconds = time.monotonic() - began
            print(f"pass {number:3}: {sizes[-1]:5} MiB, peak {peak(worker):5} MiB, {seconds:5.1f} s", flush=True)
    if len(seen) > 1:
        sys.exit("the worker was lost and replaced: its memory tells nothing")
    if len(sizes) <= SETTLED:
        sys.exit(f"{len(sizes)} passes are too few to tell: at least {SETTLED + 1}")
    grown = deviation(sizes)
    print(f"after pass {SETTLED}: at most {grown:.1%} away from {sizes[SETTLED - 1]} MiB; allowed are {TOLERANCE:.0%}")
    sys.exit(grown > TOLERANCE)


if __name__ == "__main__":
    main()
