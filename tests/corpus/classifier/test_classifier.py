"""A classifier: its training, its scores, and the cutoff of a share."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.classifier import model as models
from corpus.classifier import train as training
from corpus.classifier.config import GRADE, SCORE, Config
from corpus.classifier.cutoff import count_bits, find_cutoff
from corpus.classifier.fit import fit
from corpus.classifier.linear import multiply_out, probabilities
from corpus.classifier.model import columns
from corpus.classifier.stage import process, resources
from corpus.classifier.train import Config as Training
from corpus.classifier.train import area_under_curve, documents_of, measured, train_classifier
from corpus.run.recipe import make_step
from corpus.schema import DOCUMENTS, DROPPED
from corpus.text.fasttext_model import ALL, load_model, predict
from tests.oracles import classifier as oracle

SMALL = Training(buckets=5000, dim=8, epochs=5, held_out=0.2)
GOOD = ["river", "mountain", "weather", "history", "science", "because", "therefore", "however", "morning", "evening"]
BAD = ["click", "buy", "cheap", "sale", "discount", "login", "cookie", "subscribe", "menu", "share", "widget", "banner"]


def texts(words: list[str], count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(words, k=30)) for _ in range(count)]


def documents(contents: list[str | None]) -> pa.RecordBatch:
    columns = {field.name: pa.nulls(len(contents), field.type) for field in DOCUMENTS}
    columns["text"] = pa.array(contents, pa.string())
    columns["id"] = pa.array([f"<{number}>" for number in range(len(contents))])
    return pa.record_batch(list(columns.values()), schema=DOCUMENTS)


def write(folder: Path, good: list[str], bad: list[str]) -> tuple[list[str], list[str]]:
    for name, texts in (("good", good), ("bad", bad)):
        (folder / f"{name}.txt").write_text("\n<|endoftext|>\n".join(texts))
    return [str(folder / "good.txt")], [str(folder / "bad.txt")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    train_classifier(*write(folder, texts(GOOD, 200, 1), texts(BAD, 200, 2)), folder / "model.bin", SMALL)
    return folder / "model.bin"


def fit_lines(lines: list[str], output: Path) -> Path:
    """A model that is trained on these lines, each with its label; returns `output`."""
    folder = output.parent
    (folder / "train").write_text("".join(f"{line}\n" for line in lines))
    training._fit_files(folder, SMALL)
    (folder / "model.bin").rename(output)
    return output


@pytest.fixture(scope="module")
def grader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grader")
    lines = [f"__label__{i % 6} " + " ".join([f"level{i % 6}"] * 10) for i in range(900)]
    return fit_lines(lines, folder / "grades.bin")


@pytest.mark.parametrize("ngrams", [1, 2])
def test_training_works_and_gives_the_same_bytes_each_time(tmp_path: Path, ngrams: int) -> None:
    # fastText leaves most weights of a small model as the memory was before, see corpus.classifier.fit.
    config = Training(buckets=500, dim=10, word_ngrams=ngrams, held_out=0.2)
    sources = write(tmp_path, texts(GOOD, 60, 1), texts(BAD, 60, 2))
    hashes = set()
    for number in range(5):
        report = train_classifier(*sources, tmp_path / f"{number}.bin", config)
        hashes.add(hashlib.sha256((tmp_path / f"{number}.bin").read_bytes()).hexdigest())
        assert hashes == {report["sha256"]}
        assert report["held_out"]["auc"] == 1.0
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "4.json").read_bytes()


def test_neither_order_nor_cut_of_the_files_shows_in_the_model(tmp_path: Path) -> None:
    good, bad = texts(GOOD, 60, 1), texts(BAD, 60, 2)
    positive, negative = write(tmp_path, good, bad)
    one = train_classifier(positive, negative, tmp_path / "a.bin", SMALL)
    for name, part in (("1", good[40:]), ("2", good[:40])):
        (tmp_path / f"{name}.txt").write_text("\n<|endoftext|>\n".join(reversed(part)))
    other = train_classifier([f"{tmp_path}/1.txt", f"{tmp_path}/2.txt"], negative, tmp_path / "b.bin", SMALL)
    assert one["sha256"] == other["sha256"]
    assert one["examples"] == other["examples"]
    changed = train_classifier(positive, negative, tmp_path / "c.bin", Training(**{**vars(SMALL), "seed": 2}))
    assert changed["sha256"] != one["sha256"]


def test_a_label_in_a_text_is_an_ordinary_word(tmp_path: Path) -> None:
    sources = write(tmp_path, [f"__label__cc {text}" for text in texts(GOOD, 60, 1)], texts(BAD, 60, 2))
    report = train_classifier(*sources, tmp_path / "model.bin", SMALL)
    assert report["held_out"]["recall"] == 1.0


def test_documents_of_a_text_file_are_cut_at_their_marks(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("one\ntwo\n<|endoftext|>\nthree <|endoftext|> four\n<|endoftext|>\n")
    assert list(documents_of(str(path))) == ["one\ntwo", "three <|endoftext|> four", ""]


def test_long_examples_are_cut_and_stay_on_one_side(tmp_path: Path) -> None:
    good = [" ".join(texts(GOOD, 10, seed)) for seed in range(20)]
    config = Training(**{**vars(SMALL), "max_words": 30})
    report = train_classifier(*write(tmp_path, good, texts(BAD, 60, 2)), tmp_path / "model.bin", config)
    positive = {name: count for name, count in report["examples"].items() if "__label__hq" in name}
    assert sum(positive.values()) == 200
    assert all(count % 10 == 0 for count in positive.values())


@pytest.mark.parametrize(
    ("good", "output", "message"),
    [
        ([], "model.bin", "no example to learn from of 0"),
        (["a single text"], "model.bin", "give more text"),
        (texts(GOOD, 9, 1), "model", "should end in .bin"),
    ],
)
def test_what_cannot_be_trained_is_named(tmp_path: Path, good: list[str], output: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_classifier(*write(tmp_path, good, texts(BAD, 60, 2)), tmp_path / output, SMALL)
    assert not list(tmp_path.glob("*.bin"))


def test_training_that_diverges_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = subprocess.CompletedProcess([], 1, "", "a warning\nEncountered NaN.\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failing)
    sources = write(tmp_path, texts(GOOD, 60, 1), texts(BAD, 60, 2))
    with pytest.raises(ValueError, match=r"fastText does not train: Encountered NaN\.; lr = 0\.1: a smaller one"):
        train_classifier(*sources, tmp_path / "m.bin", SMALL)
    assert not (tmp_path / "m.bin").exists()


def test_scores_are_those_of_fasttext(model: Path) -> None:
    import fasttext

    examples = [*texts(GOOD, 5, 3), *texts(BAD, 5, 4), "river\nsale\r\ncookie", "ünbekannt 東京"]
    labels, values = fasttext.load_model(str(model)).predict([" ".join(text.split()) for text in examples], k=-1)
    expected = [
        float(dict(zip(names, probabilities, strict=True))["__label__hq"])
        for names, probabilities in zip(labels, values, strict=True)
    ]
    kept, dropped, *_ = process(documents([*examples, None, " \n"]), Config(model=str(model), keep_above=0.0))
    assert dropped.num_rows == 0
    assert kept.column(SCORE).to_pylist() == pytest.approx([*np.minimum(expected, 1.0), 0, 0], abs=1e-6)
    assert columns(Config(model=str(model))) == [pa.field(SCORE, pa.float64())]


def test_dropped_documents_name_their_score(model: Path) -> None:
    kept, dropped, *_ = process(documents([*texts(GOOD, 5, 3), *texts(BAD, 5, 4)]), Config(model=str(model)))
    assert kept.column("id").to_pylist() == [f"<{number}>" for number in range(5)]
    assert min(kept.column(SCORE).to_pylist()) >= 0.5
    assert dropped.schema == DROPPED
    for row in dropped.to_pylist():
        assert (row["rule"], row["threshold"]) == ("classifier.score", "0.5")
        assert float(row["value"]) < 0.5


def test_the_other_label_may_be_asked_for(model: Path) -> None:
    kept, *_ = process(
        documents([*texts(GOOD, 5, 3), *texts(BAD, 5, 4)]), Config(model=str(model), label="__label__cc")
    )
    assert kept.column("id").to_pylist() == [f"<{number}>" for number in range(5, 10)]


def test_a_model_of_grades_gives_their_mean_and_keeps_from_three(grader: Path) -> None:
    examples = [" ".join([f"level{grade}"] * 10) for grade in range(6)]
    kept, dropped, *_ = process(documents([*examples, None]), Config(model=str(grader)))
    assert kept.column(GRADE).to_pylist() == [3, 4, 5]
    assert kept.column(SCORE).to_pylist() == pytest.approx([3, 4, 5], abs=0.5)
    assert dropped.column("value").to_pylist() == ["0", "1", "2", "0"]
    assert dropped.column("threshold").to_pylist() == ["3"] * 4
    assert columns(Config(model=str(grader))) == [pa.field(SCORE, pa.float64()), pa.field(GRADE, pa.int64())]
    answer = predict(load_model(grader, ""), "level1 level4 level4", ALL)
    values = models.score_texts(pa.array(["level1 level4 level4"]), Config(model=str(grader))).to_pylist()
    total = sum(value for value, _ in answer)
    assert values == [pytest.approx(sum(value * int(label[-1]) for value, label in answer) / total)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "model = '': should be the file of a model"),
        ({"keep_top": "10"}, "keep_top = '10': should be a share"),
        ({"keep_top": "0%"}, "keep_top = '0%': should be a share"),
        ({"keep_top": "101%"}, "keep_top = '101%': should be a share"),
        ({"keep_top": "10%", "keep_above": 0.5}, "one of them decides"),
        ({"keep_above": -1.0}, "keep_above = -1.0: should be at least 0"),
    ],
)
def test_wrong_settings_are_named(model: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_step("classifier", ({"model": str(model)} if settings else {}) | settings)


def test_a_model_without_the_label_or_no_model(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'__label__x': .* has __label__cc, __label__hq"):
        process(documents(["x"]), Config(model=str(model), label="__label__x"))
    (tmp_path / "x.bin").write_bytes(b"no model")
    with pytest.raises(ValueError, match="not a fastText model"):
        resources(Config(model=str(tmp_path / "x.bin")))
    with pytest.raises(ValueError, match="not a fastText model"):
        process(documents(["x"]), Config(model=str(tmp_path / "x.bin")))


SCORES = st.lists(st.floats(0, 5) | st.sampled_from([0.0, 0.5, 1.0, 5e-324]), min_size=1, max_size=60)


@given(SCORES, st.floats(0.001, 1), st.integers(1, 7))
def test_the_cutoff_is_that_of_all_scores_in_order(scores: list[float], share: float, shards: int) -> None:
    parts = [pa.array(scores[number::shards], pa.float64()) for number in range(shards)]

    def histogram(shift: int, prefix: int) -> Any:
        return sum(count_bits(part, shift, prefix) for part in parts)

    assert find_cutoff(histogram, len(scores), share) == oracle.cutoff(scores, share)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0])), max_size=30))
def test_figures_are_those_of_their_definitions(pairs: list[tuple[bool, float]]) -> None:
    pairs = [*pairs, (True, 0.5), (False, 0.2)]
    positive, scores = np.array([one for one, _ in pairs]), np.array([score for _, score in pairs])
    assert area_under_curve(positive, scores) == pytest.approx(oracle.area_under_curve(*zip(*pairs, strict=True)))
    figures = measured(positive, scores)
    kept = [one for one, score in pairs if score >= 0.5]
    assert figures.precision == pytest.approx(sum(kept) / len(kept))
    assert figures.recall == pytest.approx(sum(kept) / sum(one for one, _ in pairs))
    row = next(row for row in figures.thresholds if row["threshold"] == 0.5)
    assert row["kept"] == pytest.approx(len(kept) / len(pairs))


# Words that the model has and others, words that fastText reads as labels or as the end, and all of its white space.
PIECES = [
    *GOOD[:3],
    *BAD[:3],
    "unknown",
    "ünï",
    "東京",
    "__label__hq",
    "__label__x",
    "__label",
    "_",
    "</s>",
    "</s",
    "\0",
]
LINE = st.lists(st.sampled_from([*PIECES, " ", " ", "\n", "\r\n", "\t", "\v", "\f", "\u00a0"]), max_size=30).map(
    "".join
)


@given(texts=st.lists(LINE, max_size=6))
def test_the_multiplied_model_answers_as_fasttext(model: Path, texts: list[str]) -> None:
    slow = load_model(model, "")
    linear = multiply_out(slow)
    assert linear is not None
    ours = probabilities(pa.array(texts, pa.string()), linear)
    expected = models._predicted(pa.array(texts, pa.string()), linear.labels, slow)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max(initial=0) < 1e-5


@pytest.mark.parametrize("settings", [{"loss": "hs"}, {"loss": "ova"}, {"minn": 2, "maxn": 3}])
def test_fasttext_answers_for_models_that_cannot_be_multiplied_out(tmp_path: Path, settings: dict[str, Any]) -> None:
    lines = [f"__label__hq {text}" for text in texts(GOOD, 80, 1)]
    lines += [f"__label__cc {text}" for text in texts(BAD, 80, 2)]
    (tmp_path / "train").write_text("".join(f"{line}\n" for line in lines))
    files = {"input": str(tmp_path / "train"), "output": str(tmp_path / "m.bin")}
    fit(files | {"thread": 1, "bucket": 500, "dim": 8} | settings, SMALL.lr)
    config = Config(model=str(tmp_path / "m.bin"))
    assert multiply_out(load_model(tmp_path / "m.bin", "")) is None
    kept, dropped, *_ = process(documents([*texts(GOOD, 5, 3), *texts(BAD, 5, 4), None]), config)
    assert kept.column("id").to_pylist() == [f"<{number}>" for number in range(5)]
    assert dropped.num_rows == 6
