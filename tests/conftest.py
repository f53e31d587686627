"""Fixtures and settings for all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.paths import TESTDATA, needed

# nohup and a job in a shell's background leave SIGINT ignored, and every process that a test starts would inherit that:
# then Ctrl-C could not be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A process of one test is one of many at a time: a thread a core, each waiting for the others, would take the other
# tests' time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What the processes of tests do first: see the file there.
PROCESSES = str(Path(__file__).parent / "support/processes")

# A slow shared machine is not a failure, and a test that failed once must fail again.
settings.register_profile("default", deadline=None, derandomize=True)
settings.load_profile("default")


def pytest_configure(config: pytest.Config) -> None:
    """Processes of tests begin with PROCESSES; pytest's own workers, which the tests run in, do not."""
    runs_tests = hasattr(config, "workerinput") or not config.getoption("numprocesses", 0)
    if runs_tests:
        os.environ["PYTHONPATH"] = os.pathsep.join([PROCESSES, *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of real pages, gold annotations and vocabularies; never part of this repository."""
    return needed(TESTDATA, f"test data not found at {TESTDATA} (set CORPUS_TESTDATA)")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes that are no text give no name: compressed ones may change from second to second, and the workers of one
    run must find tests of the same names."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


# Files that take longest are started first, so that no worker is left with one of them at the end.
SLOW = (
    "e2e/test_fineweb.py",
    "e2e/test_dedup.py",
    "model/test_parallel.py",
    "e2e/",
    "faults/",
    "corpus/engine/",
    "model/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    for item in marked:  # compiling for CUDA warns about PyTorch's internals
        item.add_marker(pytest.mark.filterwarnings("ignore"))
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _place(item: pytest.Item) -> int:
    path = item.path.relative_to(Path(__file__).parent).as_posix()
    return next((place for place, beginning in enumerate(SLOW) if path.startswith(beginning)), len(SLOW))
