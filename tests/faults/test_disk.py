"""The file system fails during a run: the run ends with one line and exit code 1, and a second run completes it."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.driver import Task, await_that, is_gone
from tests.support.command import command, shard_hashes


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def complaint(driver: subprocess.Popen[str]) -> str:
    """The messages of a run that fails: whole lines without a traceback."""
    _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 1, errors
    assert "Traceback" not in errors
    assert is_gone(driver.pid)
    return errors


@pytest.mark.parametrize("size", ["40k", "256k"])  # full while pages are read, or in a later pass
def test_a_full_disk(size: str, small: Task, small_disk: Path) -> None:
    output = small_disk / "out"
    remount(small_disk, f"size={size}")
    errors = complaint(small.start(output))
    assert "No space left on device" in errors.splitlines()[-1]
    assert str(output) in errors  # so that a reader knows which disk is full
    remount(small_disk, "size=16m")
    small.finish(output)


def test_a_read_only_output(small: Task, small_disk: Path) -> None:
    output = small_disk / "out"
    remount(small_disk, "ro")
    (line,) = complaint(small.start(output)).splitlines()
    assert "Read-only file system" in line
    assert str(small_disk) in line
    remount(small_disk, "rw,size=16m")
    small.finish(output)
    remount(small_disk, "ro")  # files that are open for reading do not prevent it
    command("corpus", "verify", output)
    remount(small_disk, "rw")


def test_an_output_that_becomes_read_only(small: Task, small_disk: Path) -> None:
    remount(small_disk, "size=16m")
    output = small_disk / "out"
    driver = small.start(output, 1)
    assert await_that(lambda: list(output.glob("documents/_units/*.json")))
    # Files that are open for writing prevent a remount.
    read_only = ["mount", "-o", "remount,ro", str(small_disk)]
    assert await_that(lambda: subprocess.run(read_only, capture_output=True).returncode == 0)
    errors = complaint(driver)
    assert "Read-only file system" in errors.splitlines()[-1]
    assert str(output) in errors
    remount(small_disk, "rw")
    small.finish(output)


def remove_under(task: Task, output: Path, name: str) -> None:
    """Remove the output once a file like `name` is there; a second run writes all of it again."""
    driver = task.start(output, 1)
    assert await_that(lambda: list(output.glob(name)))
    output.rename(output.with_name("removed"))  # in one step: removing file by file could meet new files
    shutil.rmtree(output.with_name("removed"), ignore_errors=True)
    errors = complaint(driver)
    assert str(output) in errors.splitlines()[-1]
    task.finish(output)


@pytest.mark.parametrize("name", ["documents/_units/*.json", "blocks/_units/*.json"])
def test_an_output_removed_under_the_run(name: str, small: Task, tmp_path: Path) -> None:
    remove_under(small, tmp_path / "out", name)


@pytest.mark.long
def test_an_output_removed_at_random_moments(small: Task, tmp_path: Path) -> None:
    chance = random.Random(1)
    folders = sorted({str(Path(name).parent) for name in small.hashes if not name.startswith("tokens/")})
    names = [f"{folder}/*" for folder in folders] + [f"{folder.split('/')[0]}/_units/*" for folder in folders]
    for _ in range(20):
        remove_under(small, tmp_path / "out", chance.choice(names))
        shutil.rmtree(tmp_path / "out")


def test_an_input_deleted_under_the_run(small: Task, crawl: Path, tmp_path: Path) -> None:
    copy, output = tmp_path / "crawl", tmp_path / "out"
    shutil.copytree(crawl, copy)
    arguments = tuple(str(copy) if argument == str(crawl) else argument for argument in small.arguments)
    task = Task(arguments, {}, 0)
    driver = task.start(output, 1)
    assert await_that(lambda: list(output.glob("documents/_units/*00000*.json")))
    victim = copy / "SAMPLE-00002.warc.gz"
    victim.unlink()
    assert str(victim) in complaint(driver).splitlines()[-1]
    assert list(output.glob("documents/_units/*00001*.json"))  # the other units are done
    shutil.copy(crawl / victim.name, victim)
    command("corpus", *task.line(output))
    reference = tmp_path / "reference"
    command("corpus", *task.line(reference))
    assert shard_hashes(output) == shard_hashes(reference)
