"""The machine code on disk: made once for these sources, found again by later processes, never stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import bpe.kernels
from bpe.compiled import cache_folder
from bpe.kernels import kernel

PACKAGE = Path(bpe.kernels.__file__).parents[1]
# Calls the smallest kernel and prints how often machine code of it was found, and how often not.
CALL = "from bpe.kernels import memory; memory.hash_bytes(0, 0, 0); stats = memory.hash_bytes.stats; "
CALL += "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))"
SAID = "compiling for this machine, once; this takes a minute or two ...\n"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the package without anything compiled."""
    copied = shutil.copytree(PACKAGE, tmp_path / "copy/bpe", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(copied)


def run(sources: Path, script: str, **environment: str) -> str:
    """What a new process prints that imports the package from there."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, cwd=sources.parent, env=inherited | environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def entries(folder: Path) -> dict[str, int]:
    """The kernels with machine code below `folder`, and when it was written."""
    return {file.name.split("-")[0]: file.stat().st_mtime_ns for file in folder.rglob("*.nbi")}


def test_a_second_process_compiles_nothing(sources: Path) -> None:
    assert run(sources, CALL) == "0 1"
    made = entries(sources / "kernels/__pycache__")
    assert {"memory.hash_bytes", "memory.load_short"} == set(made)
    assert run(sources, CALL) == "1 0"
    assert entries(sources / "kernels/__pycache__") == made


def test_machine_code_goes_where_numba_is_told(sources: Path, tmp_path: Path) -> None:
    run(sources, CALL, NUMBA_CACHE_DIR=str(tmp_path / "told"))
    assert "memory.hash_bytes" in entries(tmp_path / "told")
    assert not entries(sources)


def test_beside_sources_that_cannot_be_written_to_the_users_folder_is_taken(sources: Path, tmp_path: Path) -> None:
    (sources / "kernels/__pycache__").touch()  # no folder can be made there, even by root
    for expected in ("0 1", "1 0"):
        assert run(sources, CALL, XDG_CACHE_HOME=str(tmp_path / "user")) == expected
    assert "memory.hash_bytes" in entries(tmp_path / "user/bpe")
    run(sources, CALL, XDG_CACHE_HOME="", HOME=str(tmp_path / "home"))
    assert "memory.hash_bytes" in entries(tmp_path / "home/.cache/bpe")


def test_machine_code_of_other_sources_is_not_used(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba itself looks at the file of the function alone, not at those of the functions that it calls."""
    monkeypatch.setattr(bpe.kernels, "__file__", str(sources / "kernels/__init__.py"))
    folder = bpe.kernels._cache_folder
    folders = {folder("/tmp")}
    files = [*(sources / "kernels").glob("*.py"), sources / "unicode.py"]
    for file in files:
        file.write_text(file.read_text() + "#")
        cache_folder.cache_clear()
        folders.add(folder("/tmp"))
    cache_folder.cache_clear()
    monkeypatch.setattr("numba.__version__", "1000")
    folders.add(folder("/tmp"))
    assert len(folders) == len(files) + 2


def test_processes_that_need_a_kernel_at_the_same_time_compile_it_once(sources: Path) -> None:
    command = [sys.executable, "-c", CALL]
    environment = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    started = [
        subprocess.Popen(command, cwd=sources.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    answers = [process.communicate() for process in started]
    assert sorted(stdout.split() for stdout, _ in answers) == [[b"0", b"1"], [b"1", b"0"], [b"1", b"0"]]
    assert sorted(stderr.decode() for _, stderr in answers) == ["", "", SAID]  # loading is not compiling


def test_a_run_says_once_that_it_compiles(sources: Path) -> None:
    """Its workers compile kernels too, and its standard output stays the answer alone."""
    (sources.parent / "at_work.py").write_text(
        "def compile_another(name):\n"
        "    from bpe.kernels import memory, tables\n"
        "    {'load': lambda: memory.load_short(0, 0, 0), 'same': lambda: memory.same(0, 0, 0)}[name]()\n"
    )
    script = CALL + "; from multiprocessing import get_context; from at_work import compile_another; "
    script += "[get_context('spawn').Pool(1).map(compile_another, [name]) for name in ('same', 'load')]"
    environment = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=sources.parent, env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("0 1\n", SAID)
    assert "memory.same" in entries(sources / "kernels/__pycache__")


def test_a_kernel_is_compiled_once_for_all_integers() -> None:
    @kernel
    def _half(number: int) -> int:
        return number >> 1

    @kernel
    def _halves(numbers: NDArray[np.uint32]) -> int:
        # For Numba a constant, an unsigned address and elements of other widths.
        return _half(-7) + 0 * _half(numbers.ctypes.data) + _half(len(numbers)) + _half(numbers[0])

    assert _halves(np.array([9, 9], np.uint32)) == -4 + 1 + 4
    assert len(_half.signatures) == 1  # type: ignore[attr-defined]
