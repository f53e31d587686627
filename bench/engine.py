"""`python -m bench.engine`: six WARC files through FineWeb's recipe, with one and two workers, here and on Ray.

Two ratios: `two_workers`, how much faster two worker processes are than one; `ray_to_local`, how fast two processors
of a Ray cluster are beside two local workers. Timed is a whole run into an empty folder, from the first plan to the
last commit, without the vocabulary (one unit, whatever the workers). Before it, every engine has done the same run
once: its processes are started and have loaded their models, as in a crawl that runs for hours, and the files are in
memory. The rounds take turns, so that a noisy neighbour meets all three.

The cluster is the one that RAY_ADDRESS names, else one of two processors that is started here and ended.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench.harness import data_folder, print_json, print_row
from corpus.engine import Engine
from corpus.engine.local import LocalEngine
from corpus.engine.ray import RayEngine
from corpus.pipeline import passes
from corpus.run.execute import run_pass
from corpus.run.recipe import Recipe, load_recipe
from tests.faults import ray_cluster

ROUNDS = 3


def main() -> None:
    inputs = [str(path) for path in sorted((data_folder() / "warc").glob("DEV-*.warc.gz"))]
    recipe = replace(load_recipe(Path(__file__).parent.parent / "recipes/fineweb.toml"), tokenizer=None)
    with contextlib.ExitStack() as stack:
        if not os.environ.get("RAY_ADDRESS"):
            node = stack.enter_context(ray_cluster.head("127.0.0.2", 2))
            stack.enter_context(ray_cluster.environment(node))
        engines: dict[str, Engine] = {
            "one": stack.enter_context(LocalEngine(1)),
            "two": stack.enter_context(LocalEngine(2)),
            "ray": stack.enter_context(RayEngine(None, window=2)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in engines}
        for turn in range(ROUNDS + 1):
            for name, engine in engines.items():
                taken = whole_run(recipe, inputs, engine)
                if turn:
                    seconds[name].append(taken)
    one, two, ray = (statistics.median(seconds[name]) for name in ("one", "two", "ray"))
    print(f"{len(inputs)} WARC files, medians of {ROUNDS}: " + ", ".join(f"{n} {s}" for n, s in rounded(seconds)))
    print_row("two workers", "s", two, {"one worker": one}, False)
    print_row("Ray, two processors", "s", ray, {"two workers": two}, False)
    if "--json" in sys.argv:
        print_json(
            "engine", {"two_workers": one / two, "ray_to_local": two / ray}, {"two": two, "ray": ray}, {"one": one}
        )


def whole_run(recipe: Recipe, inputs: list[str], engine: Engine) -> float:
    """Seconds of all passes into an empty folder."""
    with tempfile.TemporaryDirectory() as output:
        began = time.perf_counter()
        for plan in passes(recipe, inputs, output):
            summary = run_pass(plan, engine, lambda event: None)
            if summary.failures:
                sys.exit(f"{plan.name}: {summary.failures[0]}")
        return time.perf_counter() - began


def rounded(seconds: dict[str, list[float]]) -> list[tuple[str, list[float]]]:
    return [(name, [round(value, 1) for value in values]) for name, values in seconds.items()]


if __name__ == "__main__":
    main()
