"""`python -m bench.engine`: six WARC files through FineWeb's recipe, with one and two workers, here and on Ray.

There are two ratios: `two_workers` says how much faster two worker processes are than one, and `ray_to_local` how
fast two processors of a Ray cluster are beside two local workers. What is timed is a whole run into an empty folder,
from the first plan to the last commit, without the vocabulary (which is one unit for any number of workers). Each
engine has made one run before the clock starts: its processes are up and have loaded their models, as in a crawl that
runs for hours, and the files are in memory. The engines take turns, so that a noisy neighbour slows all three.

The cluster is the one that RAY_ADDRESS names; otherwise a cluster of two processors is started here, and ended.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.harness import data_folder, print_json, print_row
from corpus.engine.base import Engine
from corpus.engine.local import LocalEngine
from corpus.engine.ray import RayEngine
from corpus.pipeline import passes
from corpus.run.execute import run_pass
from corpus.run.recipe import Recipe, load_recipe

ROUNDS = 3


def main() -> None:
    inputs = [str(path) for path in sorted((data_folder() / "warc").glob("DEV-*.warc.gz"))]
    recipe = replace(load_recipe(Path(__file__).parent.parent / "recipes/fineweb.toml"), tokenizer=None)
    with contextlib.ExitStack() as stack:
        address = os.environ.get("RAY_ADDRESS") or stack.enter_context(ray_cluster())
        engines: dict[str, Engine] = {
            "one": stack.enter_context(LocalEngine(1)),
            "two": stack.enter_context(LocalEngine(2)),
            "ray": stack.enter_context(RayEngine(address, window=2)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in engines}
        for turn in range(ROUNDS + 1):
            for name, engine in engines.items():
                elapsed = whole_run(recipe, inputs, engine)
                if turn:
                    seconds[name].append(elapsed)
    one, two, ray = (statistics.median(seconds[name]) for name in ("one", "two", "ray"))
    rounds = ", ".join(f"{name} {[round(value, 1) for value in values]}" for name, values in seconds.items())
    print(f"{len(inputs)} WARC files, medians of {ROUNDS}: {rounds}")
    print_row("two workers", "s", two, {"one worker": one}, False)
    print_row("Ray, two processors", "s", ray, {"two workers": two}, False)
    if "--json" in sys.argv:
        print_json(
            "engine", {"two_workers": one / two, "ray_to_local": two / ray}, {"two": two, "ray": ray}, {"one": one}
        )


@contextlib.contextmanager
def ray_cluster() -> Iterator[str]:
    """The address of a Ray cluster of two processors on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def whole_run(recipe: Recipe, inputs: list[str], engine: Engine) -> float:
    """Seconds of all passes into an empty folder."""
    with tempfile.TemporaryDirectory() as output:
        began = time.perf_counter()
        for plan in passes(recipe, inputs, output):
            summary = run_pass(plan, engine, lambda event: None)
            if summary.failures:
                sys.exit(f"{plan.name}: {summary.failures[0]}")
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
