"""`corpus dedup` is killed at random moments: output and index still get the bytes of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from corpus.store.verify import datasets_below, orphans
from tests.faults.driver import await_that, is_gone
from tests.support.command import answer, command, commit_documents, shard_hashes
from tests.support.paths import REPOSITORY

# The first record of a pass.
MOMENTS = [
    "out/_dedup/signatures/_units/*.json",
    "out/_dedup/bands/_units/*.json",
    "out/_dedup/candidates/_units/*.json",
    "out/_dedup/labels/_units/*.json",
    "out/_dedup/unique/_units/*.json",
    "index/_units/new*.json",
    "out/_dedup/repeated/_units/*.json",
    "out/_units/*.json",
]


def arguments(place: Path, documents: Path) -> list[str]:
    flags = ["--against", str(place / "index"), "--update-index", "--lines", "--workers", "2"]
    return ["dedup", str(documents), "-o", str(place / "out"), *flags]


def kill_at(line: list[str], place: Path, moment: str, later: float) -> bool:
    """Kill the command so many seconds after a file like `moment` is there; False if it had ended before."""
    driver = subprocess.Popen(
        [sys.executable, "-m", "corpus", *line], cwd=REPOSITORY, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert await_that(lambda: list(place.glob(moment)) or driver.poll() is not None)
    time.sleep(later)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(driver.pid, signal.SIGKILL)
    driver.wait(60)
    assert is_gone(driver.pid)
    return driver.returncode != 0


def test_a_second_crawl_against_an_index_survives_kills(testdata: Path, tmp_path: Path) -> None:
    texts = pq.read_table(testdata / "neardup/docs.parquet", columns=["text"])["text"].to_pylist()[:1200]
    for name, first in (("old", 0), ("new", 600)):
        for unit in range(3):
            start = first + 200 * unit
            commit_documents(tmp_path / name, texts[start : start + 200], f"{name}{unit}", first=start)
    peace, war = tmp_path / "peace", tmp_path / "war"
    command("corpus", "dedup", tmp_path / "old", "-o", tmp_path / "x", "--against", peace / "index", "--update-index")
    shutil.copytree(peace / "index", war / "index")
    command("corpus", *arguments(peace, tmp_path / "new"))

    chance = random.Random(1)
    line = arguments(war, tmp_path / "new")
    kills = [kill_at(line, war, moment, chance.uniform(0, 0.2)) for moment in MOMENTS]
    assert kills[0]  # nine passes are left after it; a fast machine may end the last passes before the kill
    command("corpus", *line)
    assert shard_hashes(war / "out") == shard_hashes(peace / "out")
    assert shard_hashes(war / "index") == shard_hashes(peace / "index")
    for folder in (war / "out", war / "index"):
        assert answer("corpus", "verify", folder)["problems"] == []
        assert [orphan for dataset in datasets_below(str(folder)) for orphan in orphans(dataset, 0)] == []
