"""The crawls whose runs are disturbed, and what an undisturbed run of each writes: made once a session."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.engine.base import Limits, Unit
from corpus.engine.local import LocalEngine
from corpus.store.open import fingerprint
from corpus.store.records import Input
from corpus.store.shards import Dataset
from tests.faults.chains import MEMORY, Peace, work
from tests.faults.driver import Task, real_pages, undisturbed
from tests.faults.works import Config
from tests.support.command import command


@pytest.fixture(scope="session")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small WARC files."""
    folder = tmp_path_factory.mktemp("faults") / "crawl"
    command("corpus", "sample", "--pages", "60", "--shards", "3", "-o", folder)
    return folder


@pytest.fixture(scope="session")
def small(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> Task:
    """The demo's recipe on that crawl: a run of a few seconds."""
    arguments = ("recipes/demo.toml", "--input", str(crawl), "--set", "tokenizer.vocab_size=512")
    return undisturbed(arguments, tmp_path_factory.mktemp("small") / "out")


@pytest.fixture(scope="session")
def large(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Task:
    """FineWeb's recipe on six WARC files of real pages."""
    return undisturbed(real_pages(testdata), tmp_path_factory.mktemp("large") / "out")


@pytest.fixture(scope="session")
def engine() -> Iterator[LocalEngine]:
    """Two workers that are kept from test to test, with short limits."""
    with LocalEngine(2, Limits(grace=0.5, poll=0.02, memory=MEMORY)) as engine:
        yield engine


@pytest.fixture(scope="session")
def peace(crawl: Path, engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Peace:
    """The short chain of `chains.py` on the small crawl."""
    output = tmp_path_factory.mktemp("peace")
    units = [Unit(path.stem, (Input(str(path), *fingerprint(path)),)) for path in sorted(crawl.glob("*.warc.gz"))]
    assert engine.run(work(output, Config()), units, lambda event: None) == []
    return Peace(units, Dataset(output))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB that `mount -o remount` can change."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this machine does not let root mount a tmpfs: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
