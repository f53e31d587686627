"""Selection on the command line: a classifier is trained and used, benchmarks are removed, sources are mixed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from corpus.store.shards import Dataset
from tests.support.command import answer, command, inside, shard_hashes

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
    inside(
        "corpus",
        "extract",
        *sorted((testdata / "warc").glob("DEV-*.warc.gz"))[:2],
        "-o",
        folder / "docs",
        "--recipe",
        folder / "all.toml",
    )
    gopher = ("--only", "gopher_repetition", "--only", "gopher_quality", "--keep-dropped-text")
    inside("corpus", "filter", folder / "docs", "-o", folder / "gopher", *gopher)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path, testdata: Path) -> Path:
    train(folder, testdata, "model.bin")
    return folder / "model.bin"


def train(folder: Path, testdata: Path, name: str) -> Any:
    positive = [f"--positive={testdata}/text/en_{source}.txt.gz" for source in ("gutenberg", "news_web")]
    cut = ("--max-words", "300", "--buckets", "50000", "--dim", "16", "--held-out", "0.4")
    negative = f"--negative={folder}/gopher/dropped"
    return answer("corpus", "classify", "train", *positive, negative, *cut, "-o", folder / name)


def test_books_and_news_are_told_from_what_gopher_drops(folder: Path, model: Path, testdata: Path) -> None:
    told = json.loads((folder / "model.json").read_text())
    assert told["held_out"]["auc"] >= 0.95
    assert told["held_out"]["negative"] >= 15
    assert told["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert train(folder, testdata, "again.bin") == told
    assert (folder / "again.bin").read_bytes() == model.read_bytes()


def test_a_score_or_a_share_is_kept(folder: Path, model: Path) -> None:
    docs, only = folder / "docs", ("--only", "classifier", "--classifier", model)
    inside("corpus", "filter", docs, "-o", folder / "good", *only, "--keep-above", "0.5")
    kept, dropped = rows(folder / "good"), rows(folder / "good", "dropped")
    assert len(kept) + len(dropped) == len(rows(docs))
    assert min(row["quality_score"] for row in kept) >= 0.5 > max(float(row["value"]) for row in dropped)
    scores = sorted([row["quality_score"] for row in kept] + [float(row["value"]) for row in dropped], reverse=True)

    inside("corpus", "filter", docs, "-o", folder / "best", *only, "--keep-top", "10%")
    best = rows(folder / "best")
    assert len(best) == int(len(scores) / 10 + 0.5)
    assert sorted((row["quality_score"] for row in best), reverse=True) == scores[: len(best)]
    inside("corpus", "verify", folder / "best")
    again = inside("corpus", "filter", docs, "-o", folder / "best", *only, "--keep-top", "10%")
    assert again.stderr.count("nothing to do") == 3
    inside("corpus", "filter", docs, "-o", folder / "one", *only, "--keep-top", "10%", "--workers", "1")
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
        f'name = "x"\n[gopher_quality]\n[dedup]\n[classifier]\nmodel = "{model}"\nkeep_top = "20%"\n'
        f'[decontaminate]\nbenchmarks = ["{write_benchmark(folder)}"]\n[scrub]\n'
    )
    inside("corpus", "run", recipe, "--input", folder / "docs", "-o", folder / "out")
    stages = [
        (line["stage"], line["read"], line["kept"]) for line in answer("corpus", "report", folder / "out")["stages"]
    ]
    assert [stage for stage, _, _ in stages] == ["gopher_quality", "dedup", "classifier", "decontaminate", "scrub"]
    assert stages[2][2] == pytest.approx(stages[2][1] / 5, abs=1)
    recipe.write_text(f'name = "x"\n[classifier]\nmodel = "{model}"\nkeep_top = "20%"\n[dedup]\n')
    failed = inside("corpus", "run", recipe, "--input", folder / "docs", "-o", folder / "out2", code=2)
    assert f"{recipe}:2: [classifier] with keep_top should come after [dedup]" in failed.stderr
    recipe.write_text(f'name = "x"\n[classifier]\nmodel = "{model}"\nkeep_top = "20%"\n[c4]\n')
    failed = inside("corpus", "filter", folder / "docs", "-o", folder / "early", "--recipe", recipe, code=2)
    assert "[classifier] needs all documents: make it the last stage, or use corpus run" in failed.stderr


def write_benchmark(folder: Path) -> Path:
    """Questions that are passages of every fortieth page, and one of few words."""
    texts = [row["text"].split() for row in rows(folder / "docs")][::40]
    records = [
        {"question": " ".join(words[40:90]), "choices": [" ".join(words[90:100])]}
        for words in texts
        if len(words) > 150
    ]
    path = folder / "passages.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in [*records, {"question": "What is 2 + 2?"}]))
    return path


def test_pages_with_questions_of_a_benchmark_are_dropped_or_cut(folder: Path) -> None:
    benchmark, docs = write_benchmark(folder), folder / "docs"
    texts = {row["id"]: row["text"] for row in rows(docs)}
    held = {id: text for number, (id, text) in enumerate(texts.items()) if number % 40 == 0 and len(text.split()) > 150}
    assert len(held) > 3
    done = inside("corpus", "decontaminate", docs, "--benchmarks", benchmark, "-o", folder / "clean")
    dropped = {row["id"]: row for row in rows(folder / "clean", "dropped")}
    assert held.keys() <= dropped.keys()
    assert {row["rule"] for row in dropped.values()} == {"decontaminate.overlap"}
    assert len(rows(folder / "clean")) + len(dropped) == len(texts)
    told = json.loads((folder / "clean/contamination.json").read_text())
    assert told["contaminated_documents"] == len(dropped)
    (line,) = told["benchmarks"]
    assert line == {
        "benchmark": "passages",
        "examples": len(held) + 1,
        "looked_for": len(held),
        "found": len(held),
        "documents": len(dropped),
    }
    assert f"{len(dropped):,} of {len(texts):,} documents hold an example" in done.stderr
    assert "passages:1 in" in done.stderr
    inside("corpus", "verify", folder / "clean")
    inside("corpus", "decontaminate", docs, "--benchmarks", benchmark, "-o", folder / "clean1", "--workers", "1")
    assert shard_hashes(folder / "clean1") == shard_hashes(folder / "clean")


def test_passages_are_cut_out(folder: Path) -> None:
    benchmark, docs = write_benchmark(folder), folder / "docs"
    texts = {row["id"]: row["text"] for row in rows(docs)}
    cut = ("--preset", "gpt3", "--max-documents", "0")
    inside("corpus", "decontaminate", docs, "--benchmarks", benchmark, "-o", folder / "cut", *cut)
    left = {row["id"]: row for row in rows(folder / "cut")}
    assert left.keys() | {row["id"] for row in rows(folder / "cut", "dropped")} == texts.keys()
    changed = {id for id, row in left.items() if row["contaminated_cuts"]}
    assert changed
    passages = [" ".join(json.loads(line)["question"].split()) for line in benchmark.read_text().splitlines()][:-1]
    for id, row in left.items():
        assert (row["text"] == texts[id]) == (id not in changed)
        words = " ".join(row["text"].split())
        assert not any(passage in words for passage in passages)
    assert all(len(left[id]["text"]) < len(texts[id]) - 200 for id in changed)


def test_broken_missing_or_changed_benchmarks_are_refused(folder: Path) -> None:
    bad, docs = folder / "bad.jsonl", folder / "docs"
    bad.write_text("{")
    failed = inside("corpus", "decontaminate", docs, "--benchmarks", bad, "-o", folder / "no", code=1)
    assert "bad.jsonl, line 1: not JSON" in failed.stderr
    failed = inside("corpus", "decontaminate", docs, "-o", folder / "no", code=2)
    assert "should name files of examples" in failed.stderr
    for number in ("one", "two"):
        bad.write_text(
            json.dumps({"question": f"{number} three four five six seven eight nine ten eleven twelve 13 14"})
        )
        if number == "one":
            inside("corpus", "decontaminate", docs, "--benchmarks", bad, "-o", folder / "no")
    other = inside("corpus", "decontaminate", docs, "--benchmarks", bad, "-o", folder / "no", code=1)
    assert "decontaminate.benchmarks" in other.stderr


def test_languages_and_sources_are_mixed(folder: Path) -> None:
    docs = folder / "docs"
    told = inside("corpus", "mix", docs, "--by", "language", "--weights", "de=0.5,en=0.5", "-o", folder / "halves")
    assert told.stderr.splitlines()[-3].split() == ["group", "documents", "taken", "times", "wanted", "share"]
    assert {row["language"] for row in rows(folder / "halves")} == {"de", "en"}
    mixture = {row["group"]: row for row in json.loads((folder / "halves/mix.json").read_text())["groups"]}
    english = sum(row["language"] == "en" for row in rows(docs))
    assert mixture["en"] == mixture["en"] | {"have": english, "factor": 1.0, "taken": english}
    assert mixture["de"]["share"] == pytest.approx(0.5, abs=0.15)
    assert len(rows(folder / "halves")) + len(rows(folder / "halves", "dropped")) == len(rows(docs))

    sources = (f"{folder}/halves=0.25", f"{folder}/gopher=0.75")
    total = ("--bytes", "3e5", "--max-repeats", "2.5", "--seed", "7")
    inside("corpus", "mix", *sources, "-o", folder / "mixed", *total)
    size = sum(len(row["text"].encode()) for row in rows(folder / "mixed"))
    summary = json.loads((folder / "mixed/mix.json").read_text())
    assert summary["measure"] == "bytes"
    assert sum(row["taken"] for row in summary["groups"]) == size
    inside("corpus", "mix", *sources, "-o", folder / "mixed1", *total, "--workers", "1")
    assert shard_hashes(folder / "mixed1") == shard_hashes(folder / "mixed")
    inside("corpus", "verify", folder / "mixed")


def test_clusters_are_repeated_and_the_report_adds_up(folder: Path) -> None:
    inside("corpus", "dedup", folder / "docs", "-o", folder / "unique")
    inside("corpus", "mix", folder / "unique", "--upsample-clusters", "1:2,2:3", "-o", folder / "twice")
    unique = {row["id"]: row["minhash_cluster_size"] for row in rows(folder / "unique")}
    twice = [row["id"] for row in rows(folder / "twice")]
    assert {id: twice.count(id) for id in unique} == {id: 3 if size > 1 else 2 for id, size in unique.items()}
    inside("corpus", "scrub", folder / "twice", "-o", folder / "masked")
    report = answer("corpus", "report", folder / "unique", folder / "twice", folder / "masked")
    assert report["errors"] == []
    (line,) = [line for line in report["stages"] if line["stage"] == "mix"]
    assert (line["kept"], line["sums"]["copies"]) == (len(unique), len(twice) - len(unique))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("docs",), 2, "docs: should be NAME=WEIGHT"),
        (("docs=1", "--by", "language"), 2, "need each other"),
        (("docs=1", "--tokens", "5", "--bytes", "5"), 2, "--tokens and --bytes: give one of them"),
        (("docs", "--upsample-clusters", "3", "--seed", "1"), 2, "3: should be SIZE:WEIGHT"),
        (("docs", "--upsample-clusters"), 1, "no column minhash_cluster_size"),
        (("docs=1", "nothing=1"), 1, "nothing"),
        (("docs", "--by", "language", "--weights", "xx=1"), 1, "xx: nothing of it is there"),
    ],
)
def test_impossible_mixtures_are_refused(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    given = [f"{folder}/{word}" if word.startswith(("docs", "nothing")) else word for word in arguments]
    done = inside("corpus", "mix", *given, "-o", tmp_path / "out", code=code)
    assert message in done.stderr


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--only", "classifier"), 2, "should be the file of a model"),
        (("--classifier", "nowhere.bin"), 2, "nowhere.bin': no such file"),
        (("--classifier", "README.md"), 1, "README.md: not a fastText model"),
        (("--keep-above", "0.5"), 2, "should be the file of a model"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, flags: tuple[str, ...], code: int, message: str) -> None:
    done = inside("corpus", "filter", folder / "docs", "-o", folder / "wrong", *flags, code=code)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_sources_are_named(folder: Path) -> None:
    sources = ("--positive", folder / "nothing", "--negative", folder / "docs")
    done = command("corpus", "classify", "train", *sources, "-o", folder / "m.bin", code=1)
    assert done.stderr == f"corpus: {folder}/nothing: no such file or folder\n"
    done = inside("corpus", "classify", "train", *sources, "-o", folder / "m.bin", "--lr", "0", code=2)
    assert "lr = 0.0: should be between" in done.stderr
