"""What is left when training has ended: no thread of gloo's, which could abort the process while Python ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.model_processes import ONE_THREAD, torchruns_variables

TRAIN = """
import sys
from pathlib import Path

import torch

from model.gpt import GPT
from model.parallel import clip, distribute, processes
from tests.support.model_shards import small_model

def threads():
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]

def update(place):
    model = GPT(small_model())
    module = distribute(model, sys.argv[1], place)
    ids_BT = torch.zeros(2, 16, dtype=torch.int64)
    module(ids_BT, ids_BT).backward()
    clip(module, 1.0)  # the norm's DTensor stays in a cache

with processes(torch.device("cpu")) as place:
    update(place)
    assert any("gloo" in name for name in threads())
assert not any("gloo" in name for name in threads()), threads()
"""


@pytest.mark.parametrize("sharding", ["none", "full"])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the threads from /proc")
def test_no_thread_outlives_the_processes(sharding: str) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", TRAIN, sharding], stderr=-1, text=True, env=ONE_THREAD | variables)
        for variables in torchruns_variables(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
