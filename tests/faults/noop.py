"""The cost of a unit that does nothing: `python -m tests.faults.noop --units 10000 [--commit FOLDER]`.

Prints one JSON line: seconds for each unit, and how much the driver's resident memory has grown (MiB). With a folder,
every unit commits an empty record there, and the line also has the seconds that it takes to find all units done, from
the records and from the manifest.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from corpus.engine.base import Event, Unit
from corpus.engine.local import LocalEngine
from corpus.run.execute import run_pass
from corpus.run.plan import Pass
from corpus.store.shards import Dataset
from tests.faults.works import NoWork


def resident() -> float:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def empty_units(keys: Sequence[str]) -> list[Unit]:
    return [Unit(key, ()) for key in keys]


def measure(units: int, workers: int, folder: str) -> dict[str, float]:
    """Run so many units that do nothing; returns MiB and seconds."""
    keys = [f"unit-{number:07d}" for number in range(units)]
    before = peak = resident()
    seen = 0

    def watch(event: Event) -> None:
        nonlocal seen, peak
        if event.kind == "done":
            seen += 1
            if seen % 100 == 0:
                peak = max(peak, resident())

    began = time.monotonic()
    with LocalEngine(workers) as engine:
        if not folder:
            assert engine.run(NoWork(), empty_units(keys), watch) == []
            assert seen == units
            return figures(units, began, before, peak)
        plan = Pass("nothing", folder, keys, empty_units, {}, lambda digest: NoWork(folder, digest))
        assert run_pass(plan, engine, watch).done == units
        found = figures(units, began, before, peak)
        for source in ("manifest", "records"):
            if source == "records":  # the time includes writing the manifest again
                Path(folder, "_manifest.parquet").unlink()
            began = time.monotonic()
            assert run_pass(plan, engine, watch).skipped == units
            found[f"resume_{source}_s"] = round(time.monotonic() - began, 3)
            found[f"resume_{source}_growth_mib"] = round(resident() - before, 1)
        assert Dataset(folder).units() == keys
    return found


def figures(units: int, began: float, before: float, peak: float) -> dict[str, float]:
    seconds = time.monotonic() - began
    return {
        "units": units,
        "seconds": round(seconds, 2),
        "ms_per_unit": round(seconds / units * 1000, 3),
        "growth_mib": round(max(peak, resident()) - before, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--commit", default="", metavar="FOLDER")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.units, arguments.workers, arguments.commit)))


if __name__ == "__main__":
    main()
