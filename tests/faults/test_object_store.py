"""Runs on an object store are killed, write two at a time, or meet errors of the store, and write the right bytes."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.store.open import storage
from tests.faults.driver import Task, is_gone
from tests.support.cloud_servers import azure_server, azurite_missing, google_server
from tests.support.command import answer, command
from tests.support.object_server import BUCKET, ObjectServer, Request, error, forget, object_server


@pytest.fixture(params=["s3", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("gs", "az"))])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of an empty bucket of each store."""
    if request.param == "s3":
        request.getfixturevalue("server")
        yield f"s3://{BUCKET}"
        return
    if request.param == "az" and (reason := azurite_missing()):
        pytest.skip(reason)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with azure_server() if request.param == "az" else google_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        forget()
        yield f"{request.param}://{BUCKET}"
        forget()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectServer]:
    with object_server() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TMPDIR", str(tmp_path))  # where unfinished files lie
        yield running


def check(task: Task, output: str, tmp_path: Path) -> None:
    """Check that the store has the bytes of the undisturbed run and no other objects."""
    place = storage(output)
    found = {key: hashlib.sha256(place.read(key) or b"").hexdigest() for key in task.hashes}
    assert found == task.hashes
    assert answer("corpus", "verify", output)["problems"] == []
    left = answer("corpus", "gc", output, "--min-age", "0", "--dry-run")
    assert (left["files"], left["uploads"]) == ([], [])
    assert not [path for path in tmp_path.glob("corpus-*/*") if path.is_dir()]


def test_killed_drivers(bucket: str, small: Task, tmp_path: Path) -> None:
    output = f"{bucket}/killed"
    chance = random.Random(3)
    for _ in range(4):
        driver = small.start(output, stderr=subprocess.DEVNULL)
        try:
            driver.wait(chance.uniform(0.5, small.seconds))
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        assert is_gone(driver.pid)
    command("corpus", *small.line(output))
    check(small, output, tmp_path)


def test_two_drivers_at_once(bucket: str, small: Task, tmp_path: Path) -> None:
    output = f"{bucket}/two"
    drivers = [small.start(output) for _ in range(2)]
    said = [driver.communicate(timeout=300)[1] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], said
    check(small, output, tmp_path)


def test_a_store_that_is_overloaded(server: ObjectServer, small: Task, tmp_path: Path) -> None:
    """Every twentieth request is answered with 503; the client tries again."""
    count = iter(range(1, 10**9))

    def overloaded(request: Request) -> tuple[str, bytes] | None:
        return ("503 Slow Down", error("SlowDown")) if next(count) % 20 == 0 else None

    server.hook = overloaded
    output = f"s3://{BUCKET}/slow"
    command("corpus", *small.line(output))
    server.hook = None
    check(small, output, tmp_path)
