"""`python -m tests.faults.ray_driver ADDRESS OUTPUT NOTES UNITS SILENCE`: runs ShardWork, prints events as lines."""

from __future__ import annotations

import json
import sys

from corpus.engine.base import Event, Interrupted, Limits, Unit
from corpus.engine.ray import RayEngine
from tests.faults.ray_works import ShardWork


def tell(event: Event) -> None:
    line = {"kind": event.kind, "unit": event.unit, "detail": event.detail}
    print(json.dumps(line), file=sys.__stdout__, flush=True)


def main() -> int:
    address, output, notes, units, silence = sys.argv[1:]
    work = ShardWork(output, notes, rows=5, seconds=0.2)
    work.begin()
    try:
        with RayEngine(address, Limits(silence=float(silence))) as engine:
            failures = engine.run(work, [Unit(f"u{index:02d}", ()) for index in range(int(units))], tell)
    except Interrupted:
        return 130
    return len(failures)


if __name__ == "__main__":
    sys.exit(main())
