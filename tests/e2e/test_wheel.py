"""The built package, used far from this repository: what a user has after `pip install`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

PACKAGES = ("bpe", "corpus", "model")
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info")
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, "recipes"):
        shutil.copytree(REPOSITORY / name, folder / "source" / name, symlinks=True, ignore=IGNORED)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder / "source")
    command = [sys.executable, "-c", BUILD, str(folder)]
    subprocess.run(command, cwd=folder / "source", check=True, capture_output=True, timeout=200)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_the_wheel_has_every_file_that_is_read_at_run_time(installed: Path) -> None:
    def files(root: Path, folder: str) -> set[str]:
        paths = (Path(parent, name) for parent, _, names in os.walk(root / folder, followlinks=True) for name in names)
        return {path.relative_to(root).as_posix() for path in paths if "__pycache__" not in path.parts}

    for package in PACKAGES:
        assert files(installed, package) == files(REPOSITORY, package)
    assert {path.name for path in installed.iterdir()} - set(PACKAGES) == {"corpus_toolkit-0.1.0.dist-info"}


def test_recipes_are_found_by_their_names(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "-c", "import corpus; print(corpus.__file__)")
    assert where.stdout.strip() == str(installed / "corpus/__init__.py")
    arguments = ("--input", "none.warc.gz", "-o", "out")
    for name in ("demo", "fineweb", "fineweb2"):
        done = run(installed, tmp_path, "-m", "corpus", "run", name, *arguments)
        assert (done.returncode, done.stderr) == (
            1,
            "corpus: none.warc.gz: no such file or directory; check the name\n",
        )
    done = run(installed, tmp_path, "-m", "corpus", "filter", "none", "-o", "out", "--recipe", "fineweb")
    assert (done.returncode, done.stderr) == (1, "corpus: none: no such file or directory; check the name\n")
    for command in (("run", "fineweb3", *arguments), ("filter", "none", "-o", "out", "--recipe", "fineweb3")):
        done = run(installed, tmp_path, "-m", "corpus", *command)
        assert done.returncode == 2
        assert "fineweb3: no such recipe; name a file, or one of demo, fineweb, fineweb-text, fineweb2" in done.stderr
        assert len(done.stderr.splitlines()) == 1
