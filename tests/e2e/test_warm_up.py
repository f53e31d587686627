"""`corpus warm-up` reaches every kernel, and after it a whole run compiles nothing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import command
from tests.support.paths import REPOSITORY

# Put into every Python process, workers too: notes which kernels it loads or compiles.
NOTES = """
import os, sys
sys.path[:0] = [os.environ["NOTES_REPOSITORY"]]
import bpe.compiled
def noting(compiled, folder, compile_once=bpe.compiled.compile_once):
    compile_once(compiled, folder)
    get = compiled.compile
    def noted(signature):
        with open(os.environ["NOTES"], "a") as file:
            file.write(f"{compiled.py_func.__module__}.{compiled.py_func.__name__}\\n")
        return get(signature)
    compiled.compile = noted
bpe.compiled.compile_once = noting
"""


def kernel_names() -> set[str]:
    """The dotted names of all kernels whose machine code is kept on disk."""
    found = set()
    for path in sources("kernels/*.py"):
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for node in ast.parse(path.read_text("utf-8")).body:
            decorators = ast.unparse(node.decorator_list) if isinstance(node, ast.FunctionDef) else ""
            if isinstance(node, ast.FunctionDef) and "kernel" in decorators and not node.name.startswith("_"):
                found.add(f"{module}.{node.name}")
    return found


def entries() -> set[str]:
    """The kernels that Python calls. Others are part of their machine code, and not loaded once that is on disk."""
    called: set[str] = set()
    for path in sources("*.py"):
        if path.parent.name != "kernels":
            called.update(imported(ast.parse(path.read_text("utf-8"))))
    return kernel_names() & called


def sources(pattern: str) -> Iterator[Path]:
    return (path for package in ("bpe", "corpus") for path in (REPOSITORY / package).rglob(pattern))


def imported(tree: ast.Module) -> Iterator[str]:
    """The names that a module imports, and the attributes of modules that it imports, all with their modules."""
    names = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    yield from names.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            yield f"{names[node.value.id]}.{node.attr}"


def test_the_warm_up_reaches_every_kernel(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NOTES)
    notes = {"NOTES": str(tmp_path / "notes"), "NOTES_REPOSITORY": str(REPOSITORY), "PYTHONPATH": str(tmp_path)}
    call = [sys.executable, "-m", "corpus", "warm-up", "--json"]
    done = subprocess.run(
        call, cwd=REPOSITORY, env=os.environ | notes, stdout=subprocess.PIPE, check=True, text=True, timeout=800
    )
    assert json.loads(done.stdout)["seconds"] > 0
    reached = set((tmp_path / "notes").read_text().split())
    assert len(entries()) > 40
    assert entries() <= reached <= kernel_names()


@pytest.mark.long
def test_after_the_warm_up_nothing_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    command("corpus", "warm-up")
    compiled = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}
    assert len(compiled) >= 2 * len(kernel_names())
    monkeypatch.chdir(tmp_path)
    lines = (
        "corpus sample --pages 300 -o crawl",
        "corpus run demo --input crawl -o out",
        "bpe train out/clean --vocab-size 512 -o tokenizer",
        "bpe encode -t tokenizer text",
        "corpus dedup out/documents --lines -o lines",
        "corpus dedup out/documents --preset fineweb -o fineweb",
        "corpus decontaminate out/clean --benchmarks out/clean -o fair",
        "corpus scrub out/documents -o scrubbed",
        "corpus mix out/clean=0.7 scrubbed=0.3 --documents 20 -o mixed",
        "corpus classify train --positive out/clean --negative out/documents -o good.bin",
        "corpus filter out/documents --only classifier --classifier good.bin --keep-above 0.5 -o best",
        "corpus tokenize out/clean -t tokenizer -o tokens",
    )
    functions = "import corpus; texts = ['one two three'] * 9; corpus.near_duplicates(texts)"
    functions += "; corpus.drop_repeated_lines(texts, documents=2)"
    done = subprocess.run([sys.executable, "-c", functions], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for line in lines:
        assert "compiling" not in command(*line.split(), cwd=tmp_path).stderr, line
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")} == compiled
