"""Rules of a user: the example of CONTRIBUTING.md, and the messages for mistakes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from corpus.run.recipe import describe, load_recipe
from corpus.schema import DOCUMENTS
from corpus.store.shards import Dataset
from tests.support.command import commit_documents
from tests.support.paths import REPOSITORY

TEXTS = ["This is quiet text.", "THIS IS LOUD TEXT.", "Hm."]
CONFIG = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Config:\n    most: int = 3\n"


def corpus(folder: Path, *arguments: str, code: int = 0, **environment: str) -> str:
    """Run the command in `folder`; returns its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", "from corpus.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def example(folder: Path) -> None:
    """The two files of CONTRIBUTING.md."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code, recipe = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "toml"))
    assert code is not None
    assert recipe is not None
    assert len(code[1].splitlines()) <= 20
    (folder / "loud.py").write_text(code[1])
    (folder / "mine.toml").write_text(recipe[1])


def dropped(folder: Path) -> list[tuple[Any, ...]]:
    dataset = Dataset(folder)
    rows = [row for output in dataset.files("dropped") for row in dataset.table(output).to_pylist()]
    return [(row["id"], row["stage"], row["rule"], row["value"], row["threshold"]) for row in rows]


def test_the_example_of_contributing_works_as_written(tmp_path: Path) -> None:
    example(tmp_path)
    commit_documents(tmp_path / "docs", TEXTS)
    corpus(tmp_path, "filter", "docs", "-o", "quiet", "--recipe", "mine.toml")
    dataset = Dataset(tmp_path / "quiet")
    (kept,) = dataset.files("documents")
    assert dataset.table(kept).column("text").to_pylist() == TEXTS[:1]
    assert dropped(tmp_path / "quiet") == [
        ("<1>", "loud", "loud.upper_case", str(14 / 18), "0.5"),
        ("<2>", "gopher_quality", "gopher_quality.few_words", "1", "3"),
    ]
    corpus(tmp_path, "report", "quiet")
    corpus(tmp_path, "filter", "docs", "-o", "alone", "--recipe", "mine.toml", "--only", "loud")
    assert [row[2] for row in dropped(tmp_path / "alone")] == ["loud.upper_case"]
    changed = (tmp_path / "loud.py").read_text().replace("upper_case", "capitals")
    (tmp_path / "loud.py").write_text(changed)
    assert "another" in corpus(tmp_path, "filter", "docs", "-o", "quiet", "--recipe", "mine.toml", code=1)


def test_a_run_asks_the_rule_and_its_settings_are_set(tmp_path: Path) -> None:
    example(tmp_path)
    commit_documents(tmp_path / "docs", TEXTS)
    arguments = ["run", "mine.toml", "--input", "docs", "-o", "out", "--workers", "2"]
    off = [f"--set=gopher_quality.{name}=off" for name in ("min_words", "min_word_length", "min_alphabetic_words")]
    corpus(tmp_path, *arguments, "--set", "loud.max_upper=0.01", *off)
    assert [row[2:] for row in dropped(tmp_path / "out/clean")] == [
        ("loud.upper_case", str(1 / 19), "0.01"),
        ("loud.upper_case", str(14 / 18), "0.01"),
        ("loud.upper_case", str(1 / 3), "0.01"),
    ]
    refused = corpus(tmp_path, *arguments, "--set", "loud.max_uper=1", code=2)
    assert "loud.max_uper: unknown setting of [loud]; did you mean max_upper?" in refused


PRICE = """from dataclasses import dataclass
@dataclass(frozen=True)
class Config:
    most: float = 100.0
def rule(text, config):
    price = float(text.split()[-1])
    return (price <= config.most, "price", price, config.most)
"""


def test_a_document_at_which_a_rule_fails_is_set_aside_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "price.py").write_text(PRICE)
    (tmp_path / "mine.toml").write_text('[price]\nmodule = "price"\n')
    commit_documents(tmp_path / "docs", [*(f"It costs {price}" for price in range(98, 104)), "It costs 12,5", ""])
    corpus(tmp_path, "filter", "docs", "-o", "cheap", "--recipe", "mine.toml")
    dataset = Dataset(tmp_path / "cheap")
    (kept,) = dataset.files("documents")
    assert dataset.table(kept).column("text").to_pylist() == ["It costs 98", "It costs 99", "It costs 100"]
    assert [row[2:] for row in dropped(tmp_path / "cheap")] == [
        ("price.price", "101", "100"),
        ("price.price", "102", "100"),
        ("price.price", "103", "100"),
        ("price.error", "ValueError: could not convert string to float: '12,5'", "exception"),
        ("price.error", "IndexError: list index out of range", "exception"),
    ]
    log = "".join(
        path.read_text()
        for path in (tmp_path / "cheap").rglob("*")
        if path.is_file() and b"Traceback" in path.read_bytes()
    )
    assert 'price.py", line 6, in rule' in log


def test_a_rule_that_fails_at_every_document_fails_the_unit(tmp_path: Path) -> None:
    (tmp_path / "price.py").write_text(PRICE)
    (tmp_path / "mine.toml").write_text('[price]\nmodule = "price"\n')
    commit_documents(tmp_path / "docs", [f"It costs {number},5" for number in range(20)])
    said = corpus(tmp_path, "filter", "docs", "-o", "cheap", "--recipe", "mine.toml", code=1)
    assert "stage price failed at 20 of 20 rows, at the first with ValueError: could not convert" in said


def test_a_rule_works_on_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from tests.faults import ray_cluster

    example(tmp_path)
    commit_documents(tmp_path / "docs", TEXTS)
    with ray_cluster.head("127.0.0.4", 2) as node, ray_cluster.environment(node):
        corpus(tmp_path, "filter", "docs", "-o", "quiet", "--recipe", "mine.toml", "--engine", "ray")
    assert [row[2] for row in dropped(tmp_path / "quiet")] == ["loud.upper_case", "gopher_quality.few_words"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "module = 'my_rule': not found; should be my_rule.py in "),
        ("import no_such_library", "module = 'my_rule': cannot be imported: No module named 'no_such_library'"),
        ("def rule(", "module = 'my_rule': cannot be imported: SyntaxError: "),
        ("1 / 0", "module = 'my_rule': cannot be imported: ZeroDivisionError: division by zero"),
        ("def rule(text, config): ...", "module = 'my_rule': should have a frozen dataclass Config"),
        (CONFIG.replace("frozen=True", ""), "Config should be frozen: @dataclass(frozen=True)"),
        (CONFIG, "should have a function rule(text, config), or process(batch, config)"),
        (CONFIG + "def rule(text): ...", "rule(text) should be rule(text, config)"),
        (CONFIG.replace("= 3", ""), "Config.most should have a default"),
        (CONFIG.replace("int = 3", "dict = None"), "Config.most should be an int, float, str, bool or a tuple"),
        (CONFIG.replace("= 3", "= 'x'") + "def rule(text, config): ...", "most = 'x': should be a whole number"),
    ],
)
def test_a_module_without_a_rule_is_named_in_one_line(
    tmp_path: Path, code: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_rule", raising=False)
    if code is not None:
        (tmp_path / "my_rule.py").write_text(code)
    (tmp_path / "mine.toml").write_text('[c4]\n[mine]\nmodule = "my_rule"\n')
    with pytest.raises(ValueError, match="mine") as raised:
        load_recipe("mine.toml")
    assert message in str(raised.value)
    assert str(raised.value).startswith("mine.toml:")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("[mine]\nmodule = 3", "mine.toml:2: [mine] module = 3: should be an import path"),
        ('[mine]\nmodule = "a-b"', "module = 'a-b': should be an import path, as in my_package.loud"),
        ("[mine]\nmost = 3", "mine: no such stage or setting"),
        ('["my.mine"]\nmodule = "my.mine"', "my.mine: a rule's name should be of letters, digits and _"),
        ('[c4]\nmodule = "my_rule"', "[c4] module: unknown setting of [c4]"),
    ],
)
def test_a_recipe_that_names_no_rule(tmp_path: Path, recipe: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(recipe)
    with pytest.raises(ValueError, match="mine") as raised:
        load_recipe(tmp_path / "mine.toml")
    assert message in str(raised.value)


def test_answers_of_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "forms").mkdir()
    (tmp_path / "forms/__init__.py").write_text("")
    (tmp_path / "forms/a_rule.py").write_text(
        CONFIG
        + "from corpus.schema import Drop\n"
        + "ANSWERS = {'none': None, 'keep': (True, 'x', 0, 1), 'tuple': (False, 'x', 1, config) if 0 else"
        + " (False, 'x', 1, 0.5),\n    'drop': Drop('mine.y', 'z', 3), 'wrong': 7}\n"
        + "def rule(text, config): return ANSWERS[text]\n"
    )
    (tmp_path / "mine.toml").write_text('[mine]\nmodule = "forms.a_rule"\n')
    (step,) = load_recipe("mine.toml").steps
    rows = [{"text": text, "id": text} for text in ("none", "keep", "tuple", "drop")]
    kept, drops, *_ = step.process(pa.RecordBatch.from_pylist(rows, schema=DOCUMENTS))
    assert kept.column("id").to_pylist() == ["none", "keep"]
    assert [(row["rule"], row["value"], row["threshold"]) for row in drops.to_pylist()] == [
        ("mine.x", "1", "0.5"),
        ("mine.y", "z", "3"),
    ]
    with pytest.raises(ValueError, match=r"\[mine\] forms.a_rule.rule answered 7; should be None, Drop"):
        step.process(pa.RecordBatch.from_pylist([{"text": "wrong"}], schema=DOCUMENTS))
    before = describe([step])
    assert before["mine"]["most"] == 3
    (tmp_path / "forms/helper.py").write_text("x = 1\n")  # a file of the package that the rule may import
    assert describe([step]) != before
