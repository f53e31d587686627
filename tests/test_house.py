"""The plan of the house, held by reading every import: rooms, the directions between them, no circles, short files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("bpe", "corpus", "model")
LONGEST = 400  # lines of a file
BESIDE_FOLDERS = 8  # files that stand in corpus/ itself

# What a room of corpus/ may import, room by room from the ground up. A subject imports no other subject, except for
# those named here: downloads and the reading of WARC files are lower subjects.
GROUND = {"schema", "config"}
MACHINERY = GROUND | {"stage", "text", "store", "engine", "run"}
ROOMS = {
    "schema": set(),
    "config": set(),
    "stage": GROUND,
    "text": GROUND,
    "store": set(),
    "engine": set(),
    "run": MACHINERY,
    "crawl": MACHINERY,
    "sources": MACHINERY,
    "warc": MACHINERY,
    "extract": MACHINERY,
    "language": MACHINERY,
    "filters": MACHINERY | {"crawl", "warc"},
    "classifier": MACHINERY,
    "dedup": MACHINERY,
    "decontaminate": MACHINERY,
    "pii": MACHINERY,
    "mix": MACHINERY,
    "tokens": MACHINERY,
    "report": MACHINERY,
    "sample": MACHINERY,
    "export": MACHINERY | {"report"},
    "inputs": MACHINERY | {"sources", "warc", "language"},
    "pipeline": MACHINERY | {"inputs", "sources", "tokens", "report"},
}
ABOVE = {"commands", "cli", "__main__"}  # may import everything; nothing imports them
OF_CORPUS_FOR_MODEL = {"schema", "store"}


def modules() -> dict[str, Path]:
    """Every module of the three packages, by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (REPOSITORY / package).rglob("*.py"):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, inside functions too; not what is there for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module


GRAPH = {name: sorted(set(imports(path)) - {name}) for name, path in MODULES.items()}


def room(module: str) -> str:
    """The room of a module of corpus/; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def circles() -> list[list[str]]:
    """Groups of modules that import each other in a circle: Tarjan's strongly connected components."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in GRAPH[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            found.append(stack[at:])
            del stack[at:]

    for name in GRAPH:
        if name not in index:
            visit(name)
    return [group for group in found if len(group) > 1]


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles() == []


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_stand_on_the_ground_alone(package: str) -> None:
    allowed = {"bpe": {"bpe"}, "corpus": {"corpus", "bpe"}, "model": {"model", "bpe", "corpus"}}[package]
    wrong = [
        f"{name} imports {other}"
        for name in GRAPH
        if name.split(".")[0] == package
        for other in GRAPH[name]
        if other.split(".")[0] not in allowed
        or (package == "model" and other.split(".")[0] == "corpus" and room(other) not in OF_CORPUS_FOR_MODEL)
    ]
    assert wrong == []


def test_rooms_import_lower_rooms_alone() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in GRAPH
        if name.startswith("corpus.") and room(name) not in ABOVE
        for other in GRAPH[name]
        if other.startswith("corpus.") and room(other) not in ROOMS[room(name)] | {room(name)}
    ]
    assert wrong == []


def test_every_room_is_in_the_plan() -> None:
    assert {room(name) for name in MODULES if name.startswith("corpus.")} - {"commands", "cli", "__main__"} == set(
        ROOMS
    )


def test_no_file_is_longer_than_one_can_read_at_once() -> None:
    lengths = {
        str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8").count("\n") for path in MODULES.values()
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_few_files_stand_beside_the_folders_of_corpus() -> None:
    assert len(list((REPOSITORY / "corpus").glob("*.py"))) <= BESIDE_FOLDERS


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_know_the_public_names_and_no_others(package: str) -> None:
    body = ast.parse(MODULES[package].read_text(encoding="utf-8")).body
    for_checkers = next(
        node.body for node in body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    )
    known = {alias.name for node in for_checkers if isinstance(node, ast.ImportFrom) for alias in node.names}
    everything = next(node.value for node in body if isinstance(node, ast.Assign) and "__all__" in ast.unparse(node))
    assert known == set(ast.literal_eval(everything))
    assert not [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "__getattr__"]
