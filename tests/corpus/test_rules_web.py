"""Every reason for which a page of the test WARCs is dropped is declared by the stage that drops it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from corpus.extract.extractors import EXTRACTORS
from corpus.run.recipe import in_force, make_step
from corpus.schema import PAGES
from corpus.stage import Rule, load_stage
from corpus.warc.pages import BadRecord, Page, read_pages
from corpus.warc.source import RULES

STAGES = ("prescreen", "extract", "language")
# Settings beside the defaults, so that every rule drops a page.
EXTRACT: list[dict[str, Any]] = [
    *({"extractor": name} for name in EXTRACTORS),
    *({"max_tags": 400}, {"max_attributes": 3}, {"min_chars": 2000}),
]
LANGUAGE: list[dict[str, Any]] = [
    *({}, {"languages": ["de"]}, {"languages": ["all"], "threshold": 1.0}),
    {"languages": ["en", "de"], "threshold": 0.2, "paragraphs": True, "paragraph_chars": 1, "max_chars": 60},
]
# No test page breaks these two, whose own tests make such pages.
UNMET = {"extract.error", "language.paragraphs"}


@pytest.fixture(scope="module")
def items(testdata: Path) -> list[Page | BadRecord]:
    paths = sorted([*(testdata / "warc/edge").glob("*.warc*"), *(testdata / "warc/tiny").glob("*.warc*")])
    found: list[Page | BadRecord] = []
    for path in paths:
        if path.name == "not-a-warc.warc.gz":
            continue
        with path.open("rb") as stream:
            found += read_pages(stream, path.name)
    assert len(found) > 100
    return found


def names(stage: str, rules: tuple[Rule, ...]) -> set[str]:
    return {f"{stage}.{rule.name}" for rule in rules}


def test_every_reason_for_which_a_record_gives_no_page_is_declared(items: list[Page | BadRecord]) -> None:
    dropped = {item.drop.rule for item in items if isinstance(item, BadRecord)}
    assert dropped <= names("warc", RULES)
    assert len(dropped) > 5


def test_every_reason_for_which_a_page_is_dropped_is_declared(items: list[Page | BadRecord]) -> None:
    pages = pa.RecordBatch.from_pylist([item._asdict() for item in items if isinstance(item, Page)], schema=PAGES)
    dropped = set()
    documents = None
    for settings in EXTRACT:
        answer = make_step("extract", settings).process(pages)
        documents = documents or answer.kept
        dropped |= set(answer.dropped.column("rule").to_pylist())
    assert documents is not None
    for settings in LANGUAGE:
        dropped |= set(make_step("language", settings).process(documents).dropped.column("rule").to_pylist())
        for step in in_force([make_step("prescreen", {"sample": 0.0}), make_step("language", settings)])[:-1]:
            dropped |= set(step.process(pages).dropped.column("rule").to_pylist())
    declared = {name for stage in STAGES for name in names(stage, load_stage(stage).rules)}
    assert dropped <= declared
    assert declared - dropped <= UNMET


@pytest.mark.parametrize("stage", STAGES)
def test_the_setting_of_a_rule_is_a_field_of_the_config(stage: str) -> None:
    contract = load_stage(stage)
    fields = {field.name for field in dataclasses.fields(contract.config)}
    assert {rule.setting for rule in contract.rules if rule.setting} <= fields
    assert len({rule.name for rule in contract.rules}) == len(contract.rules) > 0


def test_no_rule_of_the_reader_names_a_setting() -> None:
    assert {rule.setting for rule in RULES} == {None}
