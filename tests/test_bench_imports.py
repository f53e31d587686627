"""The benchmarks stand on their own: they import nothing from the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

SOURCES = sorted((REPOSITORY / "bench").rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The names of all modules that a file imports, also inside of functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            yield node.module or ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_benchmark_imports_nothing_from_the_tests(path: Path) -> None:
    assert [name for name in imported(path) if name.split(".")[0] == "tests"] == []
