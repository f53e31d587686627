"""The newcomer's tasks of CONTRIBUTING.md, done as they are written there.

The first task, a filter outside the tree, is in test_own_rules.py.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from corpus.extract import extractors
from corpus.run.recipe import make_step
from corpus.schema import PAGES
from corpus.store import open as opened
from corpus.store.shards import Dataset
from tests.support.paths import REPOSITORY


def blocks(task: str) -> list[str]:
    """The Python code of a task, in order."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition(f"## {task}")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for modules of a newcomer."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_an_extractor_is_one_file_and_one_line(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, line = blocks("Task 2")
    (modules / "paragraphs.py").write_text(code)
    added = eval(f"{{{line}}}", {"Listed": extractors.Listed})
    (name,) = added
    assert added[name].module == "corpus.extract.extractors.paragraphs"
    monkeypatch.setitem(extractors.EXTRACTORS, name, added[name]._replace(module="paragraphs"))
    step = make_step("extract", {"extractor": name})
    html = b"<html><body><div>menu</div><p>First.</p><p>Second.</p></body></html>"
    answer = step.process(pa.RecordBatch.from_pylist([{"id": "<1>", "html": html}, {"id": "<2>"}], schema=PAGES))
    assert answer.kept.column("text").to_pylist() == ["First.\nSecond."]
    assert answer.dropped.column("rule").to_pylist() == ["extract.empty"]


def test_a_storage_is_one_file_and_one_line(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, line = blocks("Task 3")
    assert '"/mnt/"' in code
    (modules / "mounted.py").write_text(code.replace('"/mnt/"', f'"{modules}/mnt/"'))
    added = eval(f"{{{line}}}")
    assert added == {"mnt": "corpus.store.mounted:MountedStorage"}
    monkeypatch.setitem(opened.STORAGES, "mnt", "mounted:MountedStorage")
    importlib.invalidate_caches()
    (modules / "mnt" / "disk" / "docs").mkdir(parents=True)
    dataset = Dataset("mnt://disk/docs")
    dataset.begin({})
    assert dataset.storage.create("_units/x.json", b"{}")
    assert opened.children("mnt://disk/docs/_units") == ["mnt://disk/docs/_units/x.json"]
    assert opened.expand(["mnt://disk/*/_units"]) == ["mnt://disk/docs/_units"]
    with opened.open_path("mnt://disk/docs/_units/x.json") as stream:
        assert stream.read() == b"{}"
    assert (modules / "mnt/disk/docs/_units/x.json").is_file()
