"""Selection as a person uses it: a classifier trained and used, benchmarks removed, sources mixed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from corpus.shards import Dataset
from tests.e2e.command import answer, command, shard_hashes

ALL = """name = "all"
[urls]
[extract]
[language]
languages = []
threshold = 0.0
"""


def rows(folder: Path | str, kind: str = "documents") -> list[dict[str, Any]]:
    dataset = Dataset(folder)
    return [row for output in dataset.files(kind) for row in dataset.table(output).to_pylist()]


@pytest.fixture(scope="module")
def folder(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real pages in all languages as `docs`, and those that Gopher's rules drop in `gopher/dropped`."""
    folder = tmp_path_factory.mktemp("selection")
    (folder / "all.toml").write_text(ALL)
    command(
        "corpus",
        "extract",
        *sorted((testdata / "warc").glob("DEV-*.warc.gz"))[:3],
        "-o",
        folder / "docs",
        "--recipe",
        folder / "all.toml",
    )
    gopher = ("--only", "gopher_repetition", "--only", "gopher_quality", "--keep-dropped-text")
    command("corpus", "filter", folder / "docs", "-o", folder / "gopher", *gopher)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path, testdata: Path) -> Path:
    train(folder, testdata, "model.bin")
    return folder / "model.bin"


def train(folder: Path, testdata: Path, name: str) -> Any:
    positive = [f"--positive={testdata}/text/en_{source}.txt.gz" for source in ("gutenberg", "news_web")]
    cut = ("--max-words", "300", "--buckets", "50000", "--dim", "16", "--held-out", "0.3")
    negative = f"--negative={folder}/gopher/dropped"
    return answer("corpus", "classify", "train", *positive, negative, *cut, "-o", folder / name)


def test_books_and_news_are_told_from_what_gopher_drops(folder: Path, model: Path, testdata: Path) -> None:
    told = json.loads((folder / "model.json").read_text())
    assert told["held_out"]["auc"] >= 0.95
    assert told["held_out"]["negative"] >= 30
    assert told["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert train(folder, testdata, "again.bin") == told
    assert (folder / "again.bin").read_bytes() == model.read_bytes()


def test_a_score_or_a_share_is_kept(folder: Path, model: Path) -> None:
    docs, only = folder / "docs", ("--only", "classifier", "--classifier", model)
    command("corpus", "filter", docs, "-o", folder / "good", *only, "--keep-above", "0.5")
    kept, dropped = rows(folder / "good"), rows(folder / "good", "dropped")
    assert len(kept) + len(dropped) == len(rows(docs))
    assert min(row["quality_score"] for row in kept) >= 0.5 > max(float(row["value"]) for row in dropped)
    scores = sorted([row["quality_score"] for row in kept] + [float(row["value"]) for row in dropped], reverse=True)

    command("corpus", "filter", docs, "-o", folder / "best", *only, "--keep-top", "10%")
    best = rows(folder / "best")
    assert len(best) == int(len(scores) / 10 + 0.5)
    assert sorted((row["quality_score"] for row in best), reverse=True) == scores[: len(best)]
    command("corpus", "verify", folder / "best")
    again = command("corpus", "filter", docs, "-o", folder / "best", *only, "--keep-top", "10%")
    assert again.stderr.count("nothing to do") == 3
    command("corpus", "filter", docs, "-o", folder / "one", *only, "--keep-top", "10%", "--workers", "1")
    assert shard_hashes(folder / "one") == shard_hashes(folder / "best")


def test_a_share_of_what_the_rules_leave(folder: Path, model: Path) -> None:
    told = answer("corpus", "filter", folder / "docs", "-o", folder / "rules", "--classifier", model, "--keep-top=50%")
    stages = {stage["stage"]: stage for part in told["passes"] for stage in part["stages"]}
    assert stages["classifier"]["read"] == stages["fineweb"]["kept"]
    assert stages["classifier"]["kept"] == pytest.approx(stages["classifier"]["read"] / 2, abs=1)
    report = answer("corpus", "report", folder / "rules")
    assert report["errors"] == []
    assert [line["stage"] for line in report["stages"]][-2:] == ["fineweb", "classifier"]


def test_a_recipe_with_a_share(folder: Path, model: Path) -> None:
    recipe = folder / "recipe.toml"
    recipe.write_text(
        f'name = "x"\n[gopher_quality]\n[dedup]\n[classifier]\nmodel = "{model}"\nkeep_top = "20%"\n[scrub]\n'
    )
    command("corpus", "run", recipe, "--input", folder / "docs", "-o", folder / "out")
    stages = [
        (line["stage"], line["read"], line["kept"]) for line in answer("corpus", "report", folder / "out")["stages"]
    ]
    assert [stage for stage, _, _ in stages] == ["gopher_quality", "dedup", "classifier", "scrub"]
    assert stages[2][2] == pytest.approx(stages[2][1] / 5, abs=1)
    recipe.write_text(f'name = "x"\n[classifier]\nmodel = "{model}"\nkeep_top = "20%"\n[dedup]\n')
    failed = command("corpus", "run", recipe, "--input", folder / "docs", "-o", folder / "out2", code=1)
    assert "[classifier] with keep_top should come after [dedup]" in failed.stderr


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--only", "classifier"), 2, "should be the file of a model"),
        (("--classifier", "nowhere.bin"), 2, "nowhere.bin': no such file"),
        (("--classifier", "README.md"), 1, "README.md: not a fastText model"),
        (("--keep-above", "0.5"), 2, "should be the file of a model"),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, flags: tuple[str, ...], code: int, message: str) -> None:
    done = command("corpus", "filter", folder / "docs", "-o", folder / "wrong", *flags, code=code)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_sources_that_are_not_there_are_named(folder: Path) -> None:
    sources = ("--positive", folder / "nothing", "--negative", folder / "docs")
    done = command("corpus", "classify", "train", *sources, "-o", folder / "m.bin", code=1)
    assert done.stderr == f"corpus: {folder}/nothing: no such file or folder\n"
    done = command("corpus", "classify", "train", *sources, "-o", folder / "m.bin", "--lr", "0", code=2)
    assert "lr = 0.0: should be between" in done.stderr
