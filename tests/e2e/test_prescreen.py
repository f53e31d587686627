"""The pre-screen on the command line: it extracts fewer pages, keeps the same documents, and reports its loss."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from corpus.store.shards import Dataset
from tests.support.command import answer, inside

TINY = "warc/tiny/tiny-12-pages.warc.gz"


def rows_of(output: Path, kind: str) -> list[dict[str, Any]]:
    dataset = Dataset(output)
    return [row for file in dataset.files(kind) for row in dataset.table(file).to_pylist()]


def ids(output: Path) -> set[str]:
    return {row["id"] for row in rows_of(output, "documents")}


def accounts(output: Path) -> dict[str, dict[str, Any]]:
    return {stage["stage"]: stage for stage in answer("corpus", "report", output)["stages"]}


def test_pages_in_other_languages_are_dropped_before_extraction(testdata: Path, tmp_path: Path) -> None:
    screened, plain = tmp_path / "screened", tmp_path / "plain"
    inside("corpus", "extract", testdata / TINY, "-o", screened, "--language", "en", "--prescreen-sample", "0")
    inside("corpus", "extract", testdata / TINY, "-o", plain, "--language", "en", "--no-prescreen")
    assert ids(screened) == ids(plain) != set()
    dropped = [row for row in rows_of(screened, "dropped") if row["stage"] == "prescreen"]
    assert len(dropped) >= 5
    for row in dropped:
        assert row["rule"] == "prescreen.language"
        assert 0 <= float(row["value"]) < 0.1 == float(row["threshold"])
        assert all(row[name] not in (None, "") for name in ("id", "url", "file_path", "warc_offset"))
    stages = accounts(screened)
    assert stages["prescreen"]["dropped"] == {"prescreen.language": len(dropped)}
    assert stages["extract"]["read"] == stages["prescreen"]["kept"] == 12 - len(dropped)
    assert all(
        row["prescreen_score"] is None or row["prescreen_score"] >= 0.1 for row in rows_of(screened, "documents")
    )
    assert "prescreen_score" not in rows_of(plain, "documents")[0]
    assert "prescreen" not in accounts(plain)
    assert {row["stage"] for row in rows_of(plain, "dropped")} <= {"urls", "extract", "language"}


def test_another_setting_is_another_recipe(testdata: Path, tmp_path: Path) -> None:
    inside("corpus", "extract", testdata / TINY, "-o", tmp_path / "docs", "--language", "en")
    again = ["corpus", "extract", testdata / TINY, "-o", tmp_path / "docs", "--language", "en"]
    assert "nothing to do" in inside(*again).stderr
    assert "prescreen" in inside(*again, "--no-prescreen", code=1).stderr
    assert "prescreen.threshold is 0.1 there, 0.2 here" in inside(*again, "--prescreen-threshold", "0.2", code=1).stderr
    refused = inside(*again, "--prescreen-threshold", "2", code=2).stderr
    assert "threshold = 2.0: should be between 0 and 1" in refused


def test_every_language_is_kept_and_labelled(testdata: Path, tmp_path: Path) -> None:
    inside("corpus", "extract", testdata / TINY, "-o", tmp_path / "docs", "--language", "all")
    kept = rows_of(tmp_path / "docs", "documents")
    assert len(kept) >= 10
    assert len({row["language"] for row in kept}) >= 3
    assert all(row["language_score"] > 0.65 for row in kept)
    assert "prescreen" not in accounts(tmp_path / "docs")
    both = inside("corpus", "extract", testdata / TINY, "-o", tmp_path, "--language", "all", "--language", "en", code=2)
    assert "should be all alone" in both.stderr


def test_the_loss_is_estimated_and_reported(testdata: Path, tmp_path: Path) -> None:
    """With a threshold that hardly a page reaches, nearly each kept document is kept thanks to the sample alone."""
    flags = ["--language", "en", "--prescreen-threshold", "1", "--prescreen-sample", "0.5"]
    inside("corpus", "extract", testdata / TINY, "-o", tmp_path / "docs", *flags)
    report = inside("corpus", "report", tmp_path / "docs").stdout
    found = answer("corpus", "report", tmp_path / "docs")
    lost, stage = found["prescreen"], accounts(tmp_path / "docs")["prescreen"]
    assert found["errors"] == []
    assert stage["sums"] == {"sampled": lost["sampled"], "sampled_kept": lost["sampled_kept"]}
    assert stage["read"] == 12 == lost["dropped"] + stage["kept"]
    assert 0 < lost["sampled"] <= stage["kept"] < 12
    kept = rows_of(tmp_path / "docs", "documents")
    assert lost["sampled_kept"] == sum(row["prescreen_score"] < 1 for row in kept)
    assert lost["lost"] == pytest.approx(lost["dropped"] * lost["sampled_kept"] / lost["sampled"])
    assert lost["lost_low"] <= lost["lost"] <= lost["lost_high"] <= lost["dropped"]
    sentence = re.search(r"pre-screen: .*Clopper-Pearson\)", report)
    assert sentence
    assert f"{lost['dropped']} dropped, {lost['sampled']} sampled" in sentence[0]
    assert sentence[0].replace(">", "&gt;") in (tmp_path / "docs" / "report.html").read_text()
    off = tmp_path / "off"
    inside("corpus", "extract", testdata / TINY, "-o", off, "--language", "en", "--no-prescreen")
    assert answer("corpus", "report", off)["prescreen"] is None


def test_a_recipe_turns_it_off_as_the_flag_does(testdata: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("on", "flag", "recipe")]
    for name, more in (("on", ""), ("off", "[prescreen]\nenabled = false\n")):
        (tmp_path / f"{name}.toml").write_text(f"{more}[extract]\n[language]\nlanguages = ['en']\n")
    source = ["--input", testdata / TINY]
    inside("corpus", "run", tmp_path / "on.toml", *source, "-o", outputs[0], "--set", "prescreen.sample=0.0")
    inside("corpus", "run", tmp_path / "on.toml", *source, "-o", outputs[1], "--no-prescreen")
    inside("corpus", "run", tmp_path / "off.toml", *source, "-o", outputs[2])
    configs = [Dataset(output / "clean").records()[0].config for output in outputs]
    assert configs[1] == configs[2] != configs[0]
    assert ids(outputs[0] / "clean") == ids(outputs[1] / "clean") == ids(outputs[2] / "clean")
    assert "pre-screen:" in (outputs[0] / "report.html").read_text()
    inside("corpus", "extract", testdata / TINY, "-o", tmp_path / "docs", "--recipe", tmp_path / "off.toml")
    assert "prescreen" not in accounts(tmp_path / "docs")


@pytest.mark.long
def test_no_document_of_the_whole_recipe_is_lost(testdata: Path, tmp_path: Path) -> None:
    """On 1,033 real pages: what FineWeb's rules keep, before duplicates are looked for."""
    recipe = (Path("recipes") / "fineweb.toml").read_text()
    (tmp_path / "documents.toml").write_text(recipe[: recipe.index("[dedup]")])
    source = ["--input", str(testdata / "warc" / "DEV-*.warc.gz"), "--set", "prescreen.sample=0.0"]
    kept = {}
    for name, more in (("all", ["--no-prescreen"]), *((code, []) for code in ("en", "de", "es"))):
        languages = ("en", "de", "es") if name == "all" else (name,)
        flags = [flag for language in languages for flag in ("--language", language)]
        inside("corpus", "run", tmp_path / "documents.toml", *source, "-o", tmp_path / name, *flags, *more)
        kept[name] = rows_of(tmp_path / name / "clean", "documents")
    for code in ("en", "de", "es"):
        expected = {row["id"] for row in kept["all"] if row["language"] == code}
        assert {row["id"] for row in kept[code]} == expected
        assert len(expected) > 50
        dropped = [row for row in rows_of(tmp_path / code / "clean", "dropped") if row["stage"] == "prescreen"]
        assert len(dropped) > {"en": 800, "de": 300, "es": 900}[code]
