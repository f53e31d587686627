"""Tables of languages: real text in each language passes, spoilt text does not; and tables are checked."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from corpus.filters import fineweb, gopher_quality, gopher_repetition
from corpus.filters.languages import _tables, for_language
from corpus.filters.statistics import words_of
from corpus.filters.words import kind_of, split_words
from corpus.run.recipe import describe, load_recipe, make_step
from corpus.schema import Drop
from tests.support.filter_documents import articles, samples
from tests.support.paths import REPOSITORY

LANGUAGES = ("de", "fr", "es", "it", "pt", "nl", "pl", "ru", "zh", "ja", "ar", "hi")


def verdict(text: str, language: str, **quality: object) -> Drop | None:
    """The drop of a document by the recipe for FineWeb-2."""
    recipe = load_recipe(REPOSITORY / "recipes/fineweb2.toml")
    repetition, prose = recipe.config("gopher_repetition"), recipe.config("fineweb")
    words = gopher_quality.Config(language_tables=True, **quality)  # type: ignore[arg-type]
    return (
        gopher_repetition.judge(text, language, for_language("gopher_repetition", repetition, language))
        or fineweb.judge(text, language, for_language("fineweb", prose, language))
        or gopher_quality.judge(text, language, for_language("gopher_quality", words, language))
    )


def test_each_language_has_figures_for_each_stage() -> None:
    assert set(_tables("")) == set(LANGUAGES)
    for language, stages in _tables("").items():
        assert set(stages) == {"gopher_repetition", "gopher_quality", "fineweb"}, language
        assert len(set(stages["gopher_quality"]["stop_words"])) >= 14, language


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_declaration_passes_in_its_language_and_in_no_other(testdata: Path, language: str) -> None:
    text = samples(testdata)[language]
    assert verdict(text, language, min_words=20) is None
    stop_words = _tables("")[language]["gopher_quality"]["stop_words"]
    present = words_of(text, kind_of(language)).present(tuple(stop_words), 99)
    assert present >= 5
    other = "ru" if language != "ru" else "hi"  # a language whose stop words the text does not have
    wrong = gopher_quality.Config(
        language_tables=True,
        min_words=20,
        min_word_length=None,
        max_word_length=None,
        min_alphabetic_words=None,
    )
    config = for_language("gopher_quality", wrong, other)
    dropped = gopher_quality.judge(text, other, config)
    assert dropped is not None


@pytest.mark.parametrize("language", ["de", "fr", "pt", "ru", "zh", "ja", "ar", "hi"])
def test_an_article_passes_and_garbage_does_not(testdata: Path, language: str) -> None:
    text = articles(testdata)[language]
    assert len(text) > 8000
    assert verdict(text, language) is None
    lines = text.split("\n")
    assert verdict("\n".join([lines[0]] * 50), language) is not None
    letters = [char for char in text if not char.isspace()]
    random.Random(1).shuffle(letters)
    assert verdict("".join(letters), language) is not None
    assert verdict("\n".join(split_words(text, kind_of(language))), language) is not None  # one word on each line


@pytest.mark.parametrize("language", ["cs", "el", "eo", "fa", "he", "ko", "tr", "vi"])
def test_languages_without_a_table_are_judged_by_the_settings(testdata: Path, language: str) -> None:
    text = articles(testdata)[language]
    config = gopher_quality.Config(language_tables=True)
    assert for_language("gopher_quality", config, language) is config
    assert gopher_quality.judge(text, language, config) is None


def test_lines_end_in_the_marks_of_their_script() -> None:
    config = fineweb.Config(short_line_chars=0)
    for mark in ("。", "！", "？", "।", "॥", "؟", "۔", "।", "!", "።"):
        text = "\n".join(f"{word * 20}{mark}" for word in ("ab ", "cd ", "ef "))
        assert fineweb.judge(text, None, config) is None, mark
    assert fineweb.judge("ab cd\nef gh", None, config) is not None


def test_elided_articles_are_words_in_french_and_italian() -> None:
    assert split_words("L'homme qu'on d’abord", kind_of("fr")) == ["L'", "homme", "qu'", "on", "d’", "abord"]
    assert split_words("dell'arte l'uomo", kind_of("it")) == ["dell'", "arte", "l'", "uomo"]
    assert split_words("im Haus", kind_of("de")) == ["im", "Haus"]
    assert split_words("im Haus", kind_of("en")) == ["i", "m", "Haus"]


def test_figures_of_a_file_replace_the_built_in_ones(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('[de.gopher_quality]\nmax_word_length = "off"\n[da.gopher_quality]\nstop_words = ["og", "er"]\n')
    settings = {"language_tables": True, "language_file": str(own)}
    step = make_step("gopher_quality", settings)
    german = for_language("gopher_quality", step.config, "de")
    assert (german.max_word_length, german.min_alphabetic_words) == (None, 0.774)
    danish = for_language("gopher_quality", step.config, "da")
    assert (danish.stop_words, danish.stop_words_language, danish.min_words) == (("og", "er"), "da", 50)
    before = describe([step])
    own.write_text(own.read_text().replace("og", "at"))
    assert describe([step]) != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[de.gopher_quality]\nmax_word_lenght = 3", "[de.gopher_quality] max_word_lenght: unknown setting"),
        ("[de.gopher_quality]\nmax_word_length = 'x'", "[de.gopher_quality] max_word_length = 'x': should be a number"),
        ("[de]\ngopher_quality = 3", "de: should be tables [de.STAGE]"),
        ("[de", "not TOML"),
        ("a = " + "[" * 100_000, "not TOML: brackets are nested too deep"),
        ("a = " + "9" * 5000, "not TOML: "),
    ],
)
def test_a_mistake_in_a_table_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(text)
    with pytest.raises(ValueError, match="language_file") as raised:
        make_step("gopher_quality", {"language_tables": True, "language_file": str(own)})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="language_tables = true"):
        make_step("fineweb", {"language_file": str(REPOSITORY / "pyproject.toml")})


def test_missing_spacy_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"words = 'spacy': spaCy is not installed; pip install spacy, or say"):
        make_step("c4", {"words": "spacy"})
