"""The benchmark of training on a GPU: every part of it runs at a tiny size on a CPU and gives finite figures."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_every_part_of_the_gpu_benchmark_runs_in_miniature(testdata: Path) -> None:
    command = [sys.executable, "-m", "bench.pretrain_gpu", "--miniature", "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["name"] == "pretrain_gpu"
    parts = {"124m-50k", "124m-100k", "350m-50k", "sample", "text"}
    assert {name.split(".")[0] for name in report["ratios"]} == parts
    for ratio in report["ratios"].values():
        assert 0 < ratio < math.inf
    losses = [report["ours"]["text.bf16.loss"], report["peers"]["text.bf16.loss.plain_loop"]]
    assert all(5 < loss < math.log(50_257) + 1 for loss in losses)


def test_the_gpu_benchmark_measures_nothing_without_a_gpu() -> None:
    command = [sys.executable, "-m", "bench.pretrain_gpu"]
    hidden = {"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=hidden, check=False)
    assert done.returncode == 1
    assert done.stderr == "no CUDA device: nothing to measure; --miniature runs the script on a CPU\n"
