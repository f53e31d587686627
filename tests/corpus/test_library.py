"""`import corpus`: the public names, their documentation, and that each decides as the commands do."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import corpus


def submodules() -> list[str]:
    """Every module of the package, by its dotted name."""
    return [
        module.name for module in pkgutil.walk_packages(corpus.__path__, "corpus.") if "__main__" not in module.name
    ]


@pytest.fixture(scope="module")
def modules() -> list[str]:
    """Every module of the package, imported: none may hide a public name."""
    names = submodules()
    for name in names:
        importlib.import_module(name)
    return names


@pytest.mark.parametrize("name", corpus.__all__)
def test_a_public_name_is_an_object_with_examples(name: str, modules: list[str]) -> None:
    value = getattr(corpus, name)
    assert not isinstance(value, types.ModuleType)
    assert name in dir(corpus)
    assert name not in {part for module in modules for part in module.split(".")}
    assert value.__name__ == name
    assert ">>>" in (value.__doc__ or "")
    example = doctest.DocTestParser().get_doctest(value.__doc__, {}, name, None, None)
    shown: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=shown.append)
    assert result.failed == 0, "".join(shown)
    assert result.attempted > 0


def test_the_tables_of_names_agree() -> None:
    assert sorted(corpus._MODULES) == sorted(corpus.__all__)
    tree = Path(str(corpus.__file__)).read_text(encoding="utf-8").partition("if TYPE_CHECKING:")[2].partition("\n\n")[0]
    for name, module in corpus._MODULES.items():
        (line,) = [line for line in tree.splitlines() if line.strip().startswith(f"from {module} import ")]
        assert name in line.partition(" import ")[2].split(", ")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'corpus' has no attribute 'read_page'"):
        corpus.read_page  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, corpus; dir(corpus); print([m for m in sys.modules if m.startswith(('corpus.', 'bpe'))"
    code += " or m in ('numpy', 'pyarrow', 'numba')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_package_that_is_missing_is_named_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> Any:
        raise ModuleNotFoundError("No module named 'warcio'", name="warcio")

    monkeypatch.delitem(vars(corpus), "read_pages", raising=False)
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"warcio is not installed; pip install '\.\[data\]' brings what"):
        corpus.read_pages  # noqa: B018
