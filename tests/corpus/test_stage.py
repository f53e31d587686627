"""The contract of stages: every declaration is complete, and what is derived from them is what it was by hand."""

from __future__ import annotations

import dataclasses
import sys
import types

import pytest

from corpus.config import setting
from corpus.run.chain import Step
from corpus.stage import STAGES, Rule, Stage, load_stage, output_folders, stages_of, sums_meanings


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_itself_whole(name: str) -> None:
    stage = load_stage(name)
    assert stage.name == name
    assert dataclasses.is_dataclass(stage.config)
    assert stage.config.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert stage.process or stage.barrier or name == "tokenizer"
    settings = {field.name for field in dataclasses.fields(stage.config)}
    assert {rule.setting for rule in stage.rules} - {None} <= settings
    assert len({rule.name for rule in stage.rules}) == len(stage.rules)
    assert set(stage.implies) <= set(STAGES)
    for preset in stage.presets.values():
        assert set(preset) <= settings
    if stage.barrier:
        assert set(stage.barrier.follows) <= set(STAGES)


def test_the_default_of_a_rule_is_its_settings_default() -> None:
    stage = load_stage("language")
    rule = next(rule for rule in stage.rules if rule.setting == "threshold")
    assert stage.default(rule) == 0.65


def test_commands_offer_the_stages_that_name_them() -> None:
    assert stages_of("extract") == ("urls", "optout", "prescreen", "extract", "language")
    assert stages_of("filter") == ("gopher_repetition", "gopher_quality", "c4", "fineweb", "classifier")
    assert stages_of("dedup") == ("dedup", "lines")
    assert stages_of("scrub") == ("scrub",)
    assert stages_of("nothing") == ()


def test_a_run_writes_its_folders_in_the_order_of_the_barriers() -> None:
    assert output_folders() == (
        *("documents", "signatures", "keys", "bands", "blocks", "candidates", "decisions", "labels", "unique"),
        *("hashes", "repeated", "table", "trimmed", "scores", "cutoff", "best"),
        *("benchmarks", "overlaps", "contamination", "decontaminated", "clean", "tokenizer", "tokens"),
    )


def test_sums_are_explained_by_the_stages_that_count_them() -> None:
    assert {"opt_out_", "pii_", "capped", "wordless", "lines_removed"} <= set(sums_meanings())


@dataclasses.dataclass(frozen=True)
class Config:
    most: int = setting(1, "most letters")


@dataclasses.dataclass
class Thawed:
    most: int = 1


@pytest.mark.parametrize(
    ("config", "rules", "message"),
    [
        (dict, (), "stage x: config should be a frozen dataclass of its settings"),
        (Thawed, (), r"stage x: Thawed should be frozen: @dataclass\(frozen=True\)"),
        (Config, (Rule("long", "letters", "above", "least"),), "stage x: rule long names least, which is no setting"),
    ],
)
def test_a_wrong_declaration_is_refused(config: type, rules: tuple[Rule, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stage("x", config, rules=rules)


def test_a_module_without_its_declaration_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STAGES, "x", "newcomer")
    monkeypatch.setitem(sys.modules, "newcomer", types.ModuleType("newcomer"))
    load_stage.cache_clear()
    with pytest.raises(ValueError, match=r"newcomer: should declare STAGE = Stage\('x', ...\); see corpus/stage\.py"):
        load_stage("x")


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (None, "stage x: newcomer declares no process, so it cannot judge row by row"),
        (lambda batch, config: None, "stage x: process answered NoneType; should be an Outcome"),
    ],
)
def test_a_stage_that_cannot_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, process: types.FunctionType | None, message: str
) -> None:
    module = types.ModuleType("newcomer")
    module.STAGE = Stage("x", Config, process)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "newcomer", module)
    with pytest.raises(ValueError, match=message):
        Step("x", "newcomer", Config()).process(None)
