"""`corpus run` as a process for tests to disturb: what it runs, its processes, and what must be true afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from corpus.store.verify import datasets_below, orphans
from tests.support.command import answer, command, inside, shard_hashes
from tests.support.paths import REPOSITORY


@dataclass(frozen=True)
class Task:
    """A `corpus run`: its arguments without output and workers, and what it does when nothing disturbs it.

    `hashes` has the sha256 of every committed file by its name, `seconds` is how long the undisturbed run took.
    """

    arguments: tuple[str, ...]
    hashes: dict[str, str]
    seconds: float

    def line(self, output: Path | str, workers: int = 2, *more: str) -> list[str]:
        return ["run", *self.arguments, "-o", str(output), "--workers", str(workers), *more]

    def start(
        self, output: Path | str, workers: int = 2, *more: str, stderr: int | IO[str] = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """The run as a process in a session of its own, so that all its processes can be found."""
        return subprocess.Popen(
            [sys.executable, "-m", "corpus", *self.line(output, workers, *more)],
            cwd=REPOSITORY,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )

    def finish(self, output: Path, workers: int = 1) -> None:
        """Run to the end with another number of workers, and check that the output shows nothing of what happened."""
        inside("corpus", *self.line(output, workers))
        self.check(output)

    def check(self, output: Path) -> None:
        """Check that the output has the bytes of the undisturbed run, committed, and no other file."""
        assert self.differences(output) == []

    def differences(self, output: Path) -> list[str]:
        """What `check` would find wrong."""
        now = shard_hashes(output)
        changed = [
            f"other bytes: {name}" for name in sorted(self.hashes.keys() & now) if self.hashes[name] != now[name]
        ]
        changed += [f"missing: {name}" for name in sorted(self.hashes.keys() - now)]
        changed += [f"not in the undisturbed run: {name}" for name in sorted(now.keys() - self.hashes)]
        problems = [str(problem) for problem in answer("corpus", "verify", output)["problems"]]
        return changed + problems + [f"left behind: {name}" for name in left_behind(output)]


def undisturbed(arguments: tuple[str, ...], output: Path) -> Task:
    """Run once undisturbed, to know what other runs must write."""
    began = time.monotonic()
    command("corpus", *Task(arguments, {}, 0).line(output))
    return Task(arguments, shard_hashes(output), time.monotonic() - began)


def real_pages(testdata: Path) -> tuple[str, ...]:
    """Arguments of `corpus run` for six WARC files, 1,033 real pages."""
    source = ("--input", str(testdata / "warc" / "DEV-*.warc.gz"), "--language", "en", "--language", "de")
    return ("recipes/fineweb.toml", *source, "--set", "tokenizer.vocab_size=8192")


def left_behind(output: Path) -> list[str]:
    """Files that no commit record names, and unfinished files."""
    beside = [orphan.key for dataset in datasets_below(str(output)) for orphan in orphans(dataset, 0)]
    return beside + [str(path) for path in output.rglob("_tmp")]


def living(session: int) -> Iterator[int]:
    """Ids of the session's processes that are still running (zombies do not count)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == session and fields[0] not in "ZX":
                yield int(entry.name)


def is_gone(session: int) -> bool:
    """Whether the last process of the session ends within a minute."""
    return await_that(lambda: not list(living(session)))


def workers_of(driver: int) -> list[int]:
    """Ids of a driver's worker processes, without its resource tracker."""
    found = []
    for process in living(os.getsid(driver)):
        try:
            line = Path(f"/proc/{process}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"spawn_main" in line:
            found.append(process)
    return found


def await_that(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Wait until `condition` holds; False if it does not hold within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
