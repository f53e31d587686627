"""What is left when training has ended: no thread of gloo's, which could abort the process while Python ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from model.gpt import GPT
from model.parallel import Place, clip, distribute, processes
from tests.support.model_processes import run_together
from tests.support.model_shards import small_model


def threads() -> list[str]:
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


def update(place: Place, sharding: str) -> None:
    model = GPT(small_model())
    module = distribute(model, sharding, place)
    ids_BT = torch.zeros(2, 16, dtype=torch.int64)
    module(ids_BT, ids_BT).backward()
    clip(module, 1.0)  # the norm's DTensor stays in a cache


def train(sharding: str) -> None:
    """What each of the processes does."""
    assert not any("gloo" in name for name in threads())
    with processes(torch.device("cpu")) as place:
        update(place, sharding)
        assert any("gloo" in name for name in threads())
    assert not any("gloo" in name for name in threads()), threads()


@pytest.mark.parametrize("sharding", ["none", "full"])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the threads from /proc")
def test_no_thread_outlives_the_processes(sharding: str, tmp_path: Path) -> None:
    run_together(2, train, (sharding,), tmp_path)
