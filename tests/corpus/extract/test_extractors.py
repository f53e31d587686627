"""The table of extractors: how one is added, and what each of them promises."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import click
import pytest

from corpus.commands.flags import stage_options
from corpus.extract import extractors
from corpus.extract import stage as extract
from corpus.extract.extractors import EXTRACTORS, Extract, Listed, Settings, find_extractor
from corpus.run.recipe import describe, make_step
from tests.support.web_pages import ARTICLE, REPEATED, SENTENCE, html, pages

TABLE = "<table><tr><td>First harbour cell</td><td>Second harbour cell</td></tr></table>"
COMMENT = "<div id='comments'><div class='comment'><p>A reader was here and liked it.</p></div></div>"

# All that somebody writes who adds an extractor: this file, and a line of the table.
NEW = '''
"""The extractor `paragraphs`: the text of the `<p>` elements, a line each."""

import re

from corpus.extract.extractors import Extractor


def _load(settings):
    return _paragraphs


def _paragraphs(html, settings):
    return "\\n".join(re.findall("<p>(.*?)</p>", html, re.DOTALL))


EXTRACTOR = Extractor(_load, libraries=("click",))
'''


@pytest.fixture
def paragraphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an extractor that was added."""
    (tmp_path / "paragraphs.py").write_text(NEW)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "paragraphs", raising=False)
    monkeypatch.setitem(EXTRACTORS, "paragraphs", Listed("paragraphs", "every paragraph"))
    return "paragraphs"


def test_an_extractor_is_added_by_a_file_and_a_line(paragraphs: str) -> None:
    step = make_step("extract", {"extractor": paragraphs})
    answer = step.process(pages([html("<p>One.</p><p>Two.</p>"), html("<b>bold</b>")]))
    assert answer.kept.column("text").to_pylist() == ["One.\nTwo."]
    assert answer.dropped.column("rule").to_pylist() == ["extract.empty"]
    command = click.command()(stage_options("extract")(lambda **settings: None))
    (kind,) = [option.type for option in command.params if "--extractor" in option.opts]
    assert isinstance(kind, click.Choice)
    assert list(kind.choices) == ["trafilatura", "resiliparse", paragraphs]
    assert describe([step])["extract"]["resources"].keys() == {"click"}


def test_a_library_that_is_missing_is_named_before_any_page_is_read(
    paragraphs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_is_tried = NEW.replace("    return _paragraphs", "    import no_such_library")
    source = Path(sys.path[0], "paragraphs.py")
    source.write_text(import_is_tried.replace('libraries=("click",)', 'requirement="no-such-library>=1"'))
    with pytest.raises(ValueError, match=r"'paragraphs': the library is not installed: pip install 'no-such-library"):
        make_step("extract", {"extractor": paragraphs})


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    for refused in (
        lambda: make_step("extract", {"extractor": "readability"}),
        lambda: extract.process(pages([]), extract.Config(extractor="readability")),
    ):
        with pytest.raises(ValueError, match="extractor = 'readability': should be one of trafilatura, resiliparse"):
            refused()
    with pytest.raises(ValueError, match="extractor = 5: should be a string"):
        make_step("extract", {"extractor": 5})


@pytest.mark.parametrize("name", EXTRACTORS)
def test_the_help_says_what_an_extractor_is_good_at(name: str) -> None:
    (field,) = [field for field in dataclasses.fields(extract.Config) if field.name == "extractor"]
    assert f"{name} ({EXTRACTORS[name].about})" in field.metadata["help"]


# The description is what the hash of a run is taken over: whoever resumes a run has to find it unchanged.
def test_the_description_of_the_two_extractors_stays() -> None:
    described = {name: describe([make_step("extract", {"extractor": name})]) for name in EXTRACTORS}
    assert described["trafilatura"]["extract"]["resources"] == {}
    assert described["resiliparse"]["extract"]["resources"].keys() == {"resiliparse"}
    for name, description in described.items():
        assert description["order"] == ["extract"]
        assert description["versions"].keys() == {"corpus", "trafilatura", "lxml", "charset-normalizer"}
        assert description["extract"].keys() == {
            *("extractor", "accelerated", "favor", "tables", "comments", "deduplicate", "count_retries"),
            *("min_chars", "max_tags", "max_attributes", "time_limit", "resources"),
        }
        assert description["extract"]["extractor"] == name


@pytest.mark.parametrize("name", EXTRACTORS)
def test_text_can_be_written_and_a_page_without_text_is_empty(name: str) -> None:
    config = make_step("extract", {"extractor": name}).config
    bodies = [html(f"<article>{ARTICLE}&#0;\0<p>a&#xD800;b</p></article>"), html("<p> </p>"), b"", b" \n"]
    answer = extract.process(pages(bodies), config)
    (text,) = answer.kept.column("text").to_pylist()
    assert "\0" not in text
    assert text == text.strip() == text.encode().decode()
    assert answer.dropped.column("rule").to_pylist() == ["extract.empty"] * 3


@pytest.mark.parametrize("name", EXTRACTORS)
def test_an_exception_of_the_library_is_a_reason(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = find_extractor(name)
    config = make_step("extract", {"extractor": name}).config
    for error in (ValueError, RecursionError, KeyError, UnicodeError, *extractor.errors()):

        def load(settings: Settings, error: type[Exception] = error) -> Extract:
            def fail(html: str, settings: Settings) -> str | None:
                raise error("odd markup")

            return fail

        monkeypatch.setattr(
            extractors, "find_extractor", lambda _, load=load: dataclasses.replace(extractor, load=load)
        )
        (row,) = extract.process(pages([html(ARTICLE)]), config).dropped.to_pylist()
        assert (row["rule"], row["value"]) == ("extract.error", error.__name__)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_an_extractor_follows_the_settings_that_it_names(name: str) -> None:
    config = make_step("extract", {"extractor": name}).config
    whole = html(f"<article>{ARTICLE}{TABLE}<ul>{REPEATED * 9}</ul></article>{COMMENT}")
    short = html(f"<main><article>\n<div>\n<div>\n<p>{SENTENCE * 2}</p></div></div></article></main>")
    changes = {"tables": False, "comments": True, "deduplicate": False, "count_retries": True, "favor": "recall"}
    changed = {
        setting
        for setting, value in changes.items()
        for page in (whole, short)
        if extract.extract(page, None, dataclasses.replace(config, **{setting: value}))
        != extract.extract(page, None, config)
    }
    assert changed == set(find_extractor(name).follows)


@pytest.mark.parametrize(("name", "other"), [("trafilatura", "resiliparse"), ("resiliparse", "trafilatura")])
def test_no_process_imports_an_extractor_that_it_does_not_use(name: str, other: str) -> None:
    program = f"""
import sys
from corpus.run.recipe import make_step
from tests.support.web_pages import ARTICLE, html, pages
for module in [module for module in sys.modules if {other!r} in module]:
    del sys.modules[module]
step = make_step("extract", {{"extractor": {name!r}}})
assert step.process(pages([html(ARTICLE)])).kept.num_rows == 1
print([module for module in sys.modules if {other!r} in module])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
