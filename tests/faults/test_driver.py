"""The driver is stopped at any moment: nothing is lost, nothing is done twice, no process is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.driver import Task, is_gone
from tests.support.paths import REPOSITORY

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def stop_at_random(task: Task, output: Path, times: int) -> None:
    """Stop runs on one output at random moments, with different signals, then let one run come to its end."""
    chance = random.Random(times)
    stopped = 0
    while stopped < times:
        driver = task.start(output)
        how = SIGNALS[stopped % len(SIGNALS)]
        try:
            driver.wait(chance.uniform(0.5, task.seconds))
        except subprocess.TimeoutExpired:
            if how is signal.SIGINT:
                os.killpg(driver.pid, how)  # a terminal sends Ctrl-C to all processes
            else:
                os.kill(driver.pid, how)
            stopped += 1
        _, errors = driver.communicate(timeout=60)
        assert is_gone(driver.pid)
        # A worker that was just being spawned has no code of ours yet: Python says that its parent is gone.
        assert "Traceback" not in errors or "spawn_main" in errors
        if driver.returncode == 0:  # it had ended: begin again, so that every signal meets a running one
            task.check(output)
            shutil.rmtree(output)
        else:
            # An interpreter that is about to end dies of the signal itself, or reports an interrupt (130 or 143 in
            # a shell).
            assert driver.returncode in ((-how,) if how is signal.SIGKILL else (130, -how, -signal.SIGINT)), errors
    task.finish(output)


def test_a_driver_stopped_at_random_moments(small: Task, tmp_path: Path) -> None:
    stop_at_random(small, tmp_path / "out", 6)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_driver_stopped_at_fifty_random_moments(large: Task, tmp_path: Path) -> None:
    stop_at_random(large, tmp_path / "out", 50)


BUSY = """
import os, sys
from corpus.engine.base import Unit
from corpus.engine.local import LocalEngine
from tests.faults.works import SleepWork
def tell(event):
    if event.kind == "tick":
        print("busy", flush=True)
        while True:  # it ignores everything
            sys.stdin.read(1)
            print("still busy", flush=True)
with LocalEngine(2) as engine:
    engine.run(SleepWork(), [Unit("u0", ()), Unit("u1", ())], tell)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_ends_a_driver_that_cannot_finish(how: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    driver = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        text=True,
        bufsize=1,
    )
    with driver:
        assert driver.stdin
        assert driver.stdout
        assert driver.stdout.readline() == "busy\n"
        driver.send_signal(how)
        driver.stdin.write("x")
        driver.stdin.flush()
        assert driver.stdout.readline() == "still busy\n"  # the first Ctrl-C only asks it to stop
        driver.send_signal(how)
        assert driver.wait(20) == -how
    assert is_gone(driver.pid)
