"""What the benchmarks import exists and is none of the tests; no test module imports another (see support/)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

BENCH = sorted((REPOSITORY / "bench").rglob("*.py"))
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The dotted names of all that a file imports, also inside of functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", BENCH, ids=lambda path: path.stem)
def test_a_benchmark_imports_nothing_from_the_tests(path: Path) -> None:
    assert [name for name in imported(path) if name.split(".")[0] == "tests"] == []


def test_no_test_module_imports_another() -> None:
    def is_test(name: str) -> bool:
        package, *parts = name.split(".")
        return package == "tests" and any(part.startswith("test_") or part == "conftest" for part in parts)

    assert [(path.name, name) for path in TESTS for name in imported(path) if is_test(name)] == []


def defined(path: Path) -> set[str]:
    """The names that a module binds at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        else:
            names |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    return names


@pytest.mark.parametrize("path", BENCH, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_from_another_exists(path: Path) -> None:
    """Benchmarks run seldom, and most of them need packages of the extra `bench`: a lost name would stay unnoticed."""
    for module, _, name in (dotted.rpartition(".") for dotted in imported(path) if dotted.startswith("bench.")):
        file = REPOSITORY / f"{module.replace('.', '/')}.py"
        if file.is_file():
            assert name in defined(file), f"{module} has no {name}"
