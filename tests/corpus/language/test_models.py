"""The table of language models: how one is added, and what the config hash knows of each."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from corpus.language.models import MODELS, kind_of, lid176, load_model
from corpus.run.recipe import describe, in_force, make_step
from corpus.store.files import sha256
from corpus.text.languages import NAMES
from tests.support.web_pages import documents, html, pages

ENGLISH = "the quick brown fox jumps over lazy dogs, and then it sleeps in warm sun until evening comes. " * 4
GERMAN = "der schnelle braune Fuchs springt über faule Hunde und schläft dann bis abends in warmer Sonne. " * 4

# All that somebody writes who adds a kind of model: this file, and a line of the table.
NEW = '''
"""A language model that knows the words of a list, one `label word` a line."""

from pathlib import Path

from corpus.language.models import ModelKind


class Words:
    def __init__(self, lines):
        self.words = dict(reversed(line.split()) for line in lines)

    def identify(self, text):
        known = [self.words[word] for word in text.split() if word in self.words]
        return (known[0], known.count(known[0]) / len(known)) if known else ("", 0.0)

    def probability(self, text, labels):
        label, score = self.identify(text)
        return score if label in labels else 0.0


def find(path):
    if path is None:
        raise FileNotFoundError("no list of words")
    return Path(path)


def load(path):
    return Words(path.read_text().splitlines())


KIND = ModelKind((".words",), find, load, libraries=("click",))
'''


@pytest.fixture
def word_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of a kind of model that was added."""
    (tmp_path / "wordlist.py").write_text(NEW)
    (tmp_path / "few.words").write_text("en the\nde der\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wordlist", raising=False)
    monkeypatch.setitem(MODELS, "word list", "wordlist")
    return str(tmp_path / "few.words")


def test_a_kind_of_model_is_added_by_a_file_and_a_line(word_list: str) -> None:
    language = make_step("language", {"model": word_list, "threshold": 0.5, "languages": ["de"]})
    answer = language.process(documents(["in der Stadt", "in the town", "oben"]))
    assert answer.kept.column("language").to_pylist() == ["de"]
    assert answer.dropped.column("rule").to_pylist() == ["language.other"] * 2
    prescreen, _ = in_force([make_step("prescreen", {"sample": 0.0}), language])
    kept = prescreen.process(pages([html(f"<p>{text}</p>") for text in (ENGLISH, GERMAN)])).kept
    assert kept.column("warc_offset").to_pylist() == [1]
    described = describe([prescreen, language])
    assert described["language"]["resources"] == described["prescreen"]["resources"] == {"click": version("click")}
    assert described["language"]["model"] == sha256(Path(word_list))


def test_files_of_lid_176_and_files_of_no_kind_are_read_by_lid_176(word_list: str, tmp_path: Path) -> None:
    for path in (None, "lid.176.ftz", "lid.176.bin", "other"):
        assert kind_of(path) is lid176.KIND
    (tmp_path / "other").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"other: not a fastText model .*; use lid\.176\.bin or lid\.176\.ftz"):
        load_model(str(tmp_path / "other"))


# The description is what the hash of a run is taken over: whoever resumes a run has to find it unchanged.
def test_the_description_names_the_content_of_a_model_that_no_setting_names(tmp_path: Path) -> None:
    content = sha256(lid176.find(None))
    (tmp_path / "a.ftz").write_bytes(lid176.find(None).read_bytes())
    for stage in ("language", "prescreen"):
        assert describe([make_step(stage)])[stage]["resources"] == {"model": content}
    named = describe([make_step("language", {"model": str(tmp_path / "a.ftz")})])["language"]
    assert (named["model"], named["resources"]) == (content, {})


def test_the_list_of_labels_is_that_of_the_model() -> None:
    (labels, _) = lid176.load(lid176.find(None)).binding.getLabels("strict")
    assert {label.removeprefix("__label__") for label in labels} == set(NAMES) == lid176.labels("x/lid.176.bin")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("EN", "en"), ("German", "de"), ("Deutsch", "de"), ("pt-BR", "pt"), ("zh_CN", "zh"), ("eng_Latn", "en")],
)
def test_a_language_that_the_model_does_not_know_is_refused_with_the_right_label(wrong: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"^languages = '{wrong}': no such language; did you mean {meant}\?$"):
        make_step("language", {"languages": ["fr", wrong]})


def test_a_language_that_no_name_suggests(word_list: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^languages = 'xx': no such language; the language model knows 176 labels"):
        make_step("language", {"languages": ["xx"]})
    (tmp_path / "own.bin").write_bytes(lid176.find(None).read_bytes())
    with pytest.raises(ValueError, match=r"did you mean de\?$"):
        make_step("language", {"languages": ["German"], "model": str(tmp_path / "own.bin")})
    make_step("language", {"languages": ["xx"], "model": word_list})  # a kind that does not say its labels
