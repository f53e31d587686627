"""The fast path gives trafilatura's text, on real, changed and made-up pages; another trafilatura is called itself."""

from __future__ import annotations

import gc
import itertools
import random
import re
import resource
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace as Namespace
from typing import Any

import pytest
import trafilatura
from hypothesis import given
from hypothesis import strategies as st
from justext.core import ParagraphMaker, classify_paragraphs
from lxml.etree import XPath, tostring
from lxml.html import document_fromstring
from trafilatura import external, htmlprocessing, settings, xpaths
from trafilatura.deduplication import LRUCache

from corpus.extract import stage as extract
from corpus.extract import trafilatura_fast
from corpus.extract.extractors import load_extractor
from corpus.extract.extractors import trafilatura as by_trafilatura
from corpus.extract.trafilatura_fast import cleaning, engine, private, rescue, xpath
from corpus.extract.trafilatura_fast.grammar import translate
from corpus.extract.trafilatura_fast.xpath import Together
from tests.oracles import trafilatura_passes
from tests.support.extract_pages import ANY_SIZE, FINEWEB, SETTINGS, decoded
from tests.support.odd_pages import NAMES, TAGS, mutated, soup

EXPRESSIONS = [
    (name, number, expression.path)
    for name in engine._EXPRESSIONS
    for number, expression in enumerate(getattr(xpaths, name))
] + [("BASIC_CLEAN_XPATH", 0, settings.BASIC_CLEAN_XPATH.path)]
REGEXP = {"re": "http://exslt.org/regular-expressions"}


def answers(page: str, config: extract.Config) -> tuple[object, object]:
    """The answers of the fast path and of trafilatura: each is a text, or the reason why there is none."""
    return extract._main_text(page, config), extract._main_text(page, replace(config, accelerated=False))


def same(pages: list[str], config: extract.Config) -> int:
    """Compare the answers for each page. Returns the number of pages; fails at the first difference."""
    for page in pages:
        ours, stock = answers(page, config)
        assert ours == stock
    return len(pages)


def test_the_fast_path_is_the_one_that_is_tested() -> None:
    assert trafilatura_fast.available() is None
    assert load_extractor(extract.Config()) is by_trafilatura._by_fast_path
    assert load_extractor(extract.Config(accelerated=False, count_retries=True)) is by_trafilatura._by_trafilatura
    assert load_extractor(extract.Config(accelerated=False, deduplicate=False)) is by_trafilatura._by_trafilatura
    assert load_extractor(extract.Config(accelerated=False)) is by_trafilatura._by_forgetful_trafilatura


def every_page(testdata: Path) -> list[str]:
    pages = [page for path in sorted((testdata / "warc").glob("DEV-*.warc.gz")) for page in decoded(path)]
    assert len(pages) == 1033
    return pages


# Trafilatura is what takes the time: a sixth of the pages, the others (and all settings) in the long test below.
@pytest.mark.parametrize("part", range(4))
def test_real_pages(testdata: Path, part: int) -> None:
    same(every_page(testdata)[6 * part :: 24], FINEWEB)


def forgetful(page: str, config: extract.Config) -> object:
    """The text of trafilatura that forgets all segments before each pass, or the name of the exception."""
    try:
        return trafilatura_passes.main_text(page, config.favor, config.tables, config.comments) or ""
    except (*extract._BUGS, *by_trafilatura._errors()) as error:
        return extract.Drop("extract.error", type(error).__name__, "no exception")


# Of the pages, 183 and 946 are emptied by trafilatura, although nothing is repeated in them; with the balanced setting
# seven pages are.
@pytest.mark.parametrize(
    ("favor", "emptied"), [("precision", [183, 946]), ("balanced", [180, 183, 291, 536, 634, 683, 1027])]
)
def test_each_pass_over_a_page_counts_its_segments_anew(testdata: Path, favor: str, emptied: list[int]) -> None:
    pages = every_page(testdata)
    config = replace(ANY_SIZE, favor=favor)
    for number in emptied:
        assert answers(pages[number], replace(FINEWEB, favor=favor)) == ("", "")
        text = extract._main_text(pages[number], config)
        assert len(str(text)) > 150
        assert answers(pages[number], config) == (text, text) == (forgetful(pages[number], config),) * 2
    for page in pages[emptied[0] :: 60]:
        ours, theirs = answers(page, config)
        assert ours == theirs == forgetful(page, config)


def test_a_page_in_which_nothing_is_repeated_is_not_emptied() -> None:
    # The text of each div is the text of the paragraph, and no part of the page is enough: all of it is searched.
    sentence = (
        "A sentence of more than a hundred characters, which occurs once in this page and nowhere else in the world."
    )
    page = f"<html><body><main><article>\n<div>\n<div>\n<div>\n<p>{sentence}</p></div></div></div></article></main>"
    for favor in ("precision", "balanced", "recall"):
        config = replace(ANY_SIZE, favor=favor)
        assert answers(page, config) == (sentence, sentence) == (forgetful(page, config),) * 2
    assert answers(page, FINEWEB) == ("", "")


def test_a_segment_is_dropped_from_its_fourth_copy_on_with_both_settings() -> None:
    sentence = (
        "A sentence of more than a hundred characters, which is repeated many times in the middle of this one page."
    )
    others = "".join(f"<p>Paragraph {number} of the page is another one than all others.</p>" for number in range(12))
    copies = "".join(f"<p>{sentence}</p><p>{number}</p>" for number in range(9))
    page = f"<html><body><article>{others}{copies}</article></body></html>"
    for config in (ANY_SIZE, FINEWEB):
        ours, stock = answers(page, config)
        assert ours == stock
        assert str(ours).count(sentence) == 3
    assert str(answers(page, replace(ANY_SIZE, deduplicate=False))[0]).count(sentence) == 9


def test_changed_pages(testdata: Path) -> None:
    pages = decoded(min((testdata / "warc").glob("DEV-*.warc.gz")))
    chance = random.Random(7)
    changed = [mutated(chance.choice(pages), chance) for _ in range(100)] + [soup(chance) for _ in range(300)]
    for number, page in enumerate(changed):
        ours, stock = answers(page, SETTINGS[0] if number % 2 else SETTINGS[number // 2 % len(SETTINGS)])
        assert ours == stock


@pytest.mark.parametrize("name", ["edge-nonhtml-404-redirect-encodings.warc.gz", "corrupt-gzip-member-mid.warc.gz"])
def test_odd_responses_in_all_settings(testdata: Path, name: str) -> None:
    pages = decoded(testdata / "warc/edge" / name)
    assert pages
    for number, config in enumerate(SETTINGS):
        same(pages[number % 4 :: 4], config)


# The settings of FineWeb get most of it.
@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(
    "config", SETTINGS, ids=lambda c: f"{c.favor}-{c.tables}-{c.comments}-{c.deduplicate}-{c.count_retries}"
)
def test_all_pages_and_changed_ones_in_all_settings(testdata: Path, config: extract.Config) -> None:
    pages = every_page(testdata)
    number = SETTINGS.index(config)
    same(pages if number == 0 else pages[number % 4 :: 4], config)
    chance = random.Random(number)
    same([mutated(chance.choice(pages), chance) for _ in range(3000 if number == 0 else 500)], config)


@pytest.mark.parametrize(
    "page",
    [
        "",
        " ",
        "plain",
        "<p>one</p>",
        "<html/><p>text after a document that ends at once",
        "<!DOCTYPE html /><html><body><p>doctype with a slash</p></body></html>",
        '<?xml version="1.0" encoding="utf-8"?><html><body><p>declared</p><p>twice</p></body></html>',
        "<html><body>\x00\x01\x0b<p>controls \ufffe and \uffff</p><p>more</p></body></html>",
        "<html><body><p>\ud800 alone</p><p>x</p></body></html>",
        "<html><body><div class='post'><p>" + "word " * 40 + "</p><xmp><p>raw &lt; text</p></xmp></div></body></html>",
        "<html><body><plaintext>" + "<p>word</p>" * 30,
        "<html><body><graphic>image</graphic><div class=nav>" + "<a href=x>link</a> " * 30 + "</div></body></html>",
        "<html><body>" + "<div>" * 400 + "<p>deep" * 3,
        "<html><body>" + "<ul><li>" * 300 + "item",
        "<html><body>" + "<table><tr><td>" * 120 + "cell " * 100,
        "<html><body><p " + " ".join(f"a{n}=1" for n in range(3000)) + ">attributes</p><p>x</p></body></html>",
        "<html><body><div id=cookie class=x><p>" + "first of two " * 30 + "</p></div></body></html>",
        "<html><body><div class=x id=cookie><p>" + "first of two " * 30 + "</p></div></body></html>",
    ],
)
def test_small_pages_in_all_settings(page: str) -> None:
    for config in SETTINGS[:: 1 if len(page) < 2000 else 5]:
        ours, stock = answers(page, config)
        assert ours == stock


@given(st.integers(0, 2**32))
def test_soup(seed: int) -> None:
    chance = random.Random(seed)
    ours, stock = answers(soup(chance), chance.choice(SETTINGS))
    assert ours == stock


def touched(chance: random.Random, path: str) -> Any:
    """A tree of soup in which some elements have the tags of an expression, and pieces of it as their attributes."""
    tree = document_fromstring("<body>" + soup(chance))
    tags = re.findall(r"self::(\w+)", path) or re.findall(r"\.//(\w+)", path) or ["div"]
    names = [*re.findall(r"@([\w-]+)", path), "class", "id"]
    patterns = "|".join(re.findall("'([^']*)'", path))
    plain = re.sub(r"\(\?:([\w-]*)[^)]*\)|\[(\w)[^]]*\]|\(\?![^)]*\)|\?", r"\1\2", patterns)
    values = [value for value in re.findall(r"[\w -]+", plain) if value]
    for element in tree.iterdescendants("*"):
        if chance.random() < 0.4:
            element.tag = chance.choice(tags)
        for name in chance.sample(names, chance.choice((0, 1, 1, 2))):
            value = chance.choice(values or ["x"])
            element.set(name, chance.choice((value, value.strip(), f"x{value}", f" {value} y", value[1:], "", "N")))
    return tree


@pytest.mark.parametrize(("name", "number", "path"), EXPRESSIONS, ids=lambda value: str(value)[:30])
def test_a_translated_expression_selects_what_lxml_selects(name: str, number: int, path: str) -> None:
    chance = random.Random(f"{name}{number}")
    selection, original = translate(path), XPath(path, namespaces=REGEXP)
    found = 0
    for _ in range(60):
        tree = touched(chance, path)
        theirs = original(tree)
        assert selection(tree) == (theirs[:1] if selection.first else theirs)
        found += len(theirs)
    assert found > 20


@pytest.mark.parametrize(
    "names",
    [
        ("RAW_TREE_PRUNE_XPATH", "REMOVE_COMMENTS_AND_LISTS_XPATH"),
        ("OVERALL_DISCARD_XPATH", "DISCARD_IMAGE_ELEMENTS", "TEASER_DISCARD_XPATH", "PRECISION_DISCARD_XPATH"),
    ],
)
def test_expressions_answered_together_delete_what_they_delete_one_by_one(names: tuple[str, ...]) -> None:
    chance = random.Random(5)
    paths = [expression.path for name in names for expression in getattr(xpaths, name)]
    answer = Together([translate(path) for path in paths])
    deleted = 0
    for _ in range(200):
        tree = touched(chance, " ".join(paths))
        other = deepcopy(tree)
        deleted -= len(list(tree.iter()))
        htmlprocessing.prune_unwanted_nodes(tree, [XPath(path, namespaces=REGEXP) for path in paths])
        for element in itertools.chain.from_iterable(answer(other)):
            cleaning.delete_element(element)
        assert tostring(other) == tostring(tree)
        deleted += len(list(tree.iter()))
    assert deleted < -100


def test_the_memory_of_attributes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xpath, "_REMEMBERED", 5)
    path = ".//*[self::div or self::p][@style='s' or re:test(@id|@class, 'a|b') or re:test(@id, '^x')]"
    selection, original = translate(path), XPath(path, namespaces=REGEXP)
    chance = random.Random(3)
    for _ in range(50):
        tree = touched(chance, path)
        for element in tree.iter("div"):
            element.set("class", f"{chance.choice('abc')}{chance.random()}")
        assert selection(tree) == original(tree)
    verdicts = [*selection._any._by_tag.values()]
    assert verdicts
    assert all(len(known) <= 6 for v in verdicts for known in (v.of_class, v.of_id, v._of_all))
    assert all(v.of_class[None] == v.of_id[None] == 0 for v in verdicts)


PATTERNS = ["ab", "a(?:b|c)", "[|]x", "^a", "ab?", "b|c|ad", "a", r"\bz", "", "(?i:q|r)", "^(?:b|d)", " z", "-b|-c"]


@given(st.lists(st.sampled_from(PATTERNS)))
def test_alternatives_grouped_by_letter_find_the_same(patterns: list[str]) -> None:
    grouped = re.compile(xpath.either(patterns))
    for text in ("", "a", "b", "c", "ab", "ac", "ad", "x|x", "Q", "d z", "cab", "a" * 3, "x-b", "dx", "xd"):
        assert bool(grouped.search(text)) == any(re.search(pattern, text) for pattern in patterns)


@given(st.integers(0, 2**32))
def test_the_outermost_of_elements(seed: int) -> None:
    chance = random.Random(seed)
    elements = list(document_fromstring("<body>" + soup(chance)).iter("*"))
    selected = chance.choices(elements, k=chance.randint(0, 12))
    outer = [e for e in dict.fromkeys(selected) if not any(a in selected for a in e.iterancestors())]
    assert cleaning.outermost(selected) == outer


def test_paragraphs_are_classified_as_by_justext(testdata: Path) -> None:
    stop_words = external.jt_stoplist_init()
    classes = set()
    for page in decoded(min((testdata / "warc").glob("DEV-*.warc.gz")))[::12]:
        tree = trafilatura.load_html(page)
        ours, theirs = ParagraphMaker.make_paragraphs(tree), ParagraphMaker.make_paragraphs(tree)
        rescue.classify_paragraphs(ours, (), 50, 150, 0.1, 0.2, 0.25, True)
        classify_paragraphs(theirs, stop_words, 50, 150, 0.1, 0.2, 0.25, True)
        assert [p.cf_class for p in ours] == [p.cf_class for p in theirs]
        classes.update(p.cf_class for p in ours)
    assert classes == {"bad", "short", "neargood", "good"}


def test_the_search_for_garbage_goes_on_afterwards() -> None:
    assert gc.isenabled()
    extract._main_text("<html><body><p>some text</p></body></html>", extract.Config())
    assert gc.isenabled()
    gc.disable()
    try:
        extract._main_text("<html><body><p>some text</p></body></html>", extract.Config())
        assert not gc.isenabled()
    finally:
        gc.enable()


@given(st.lists(st.sampled_from(TAGS), max_size=8), st.data())
def test_the_first_of_two_attributes_is_the_first_in_the_tag(tags: list[str], data: st.DataObject) -> None:
    path = ".//*[self::div or self::p][re:test(@id|@class, '^a|b$') or starts-with(@class|@id, 'c') or @style='d']"
    parts = []
    for tag in [*tags, "div", "p"]:
        names = data.draw(st.lists(st.sampled_from(NAMES[:3]), unique=True))
        values = "".join(f' {name}="{data.draw(st.sampled_from(["a", "b", "c", "d", "e", ""]))}"' for name in names)
        parts.append(f"<{tag}{values}>x</{tag}>")
    tree = document_fromstring("<body>" + "".join(parts))
    assert translate(path)(tree) == XPath(path, namespaces=REGEXP)(tree)


@pytest.mark.parametrize(
    "path",
    ["//p", ".//p[2]", ".//*[@a and @b]", ".//*[position()=1]", ".//p | p", "(.//p)[1]|.//a", ".//*[contains(., 'x')]"],
)
def test_other_expressions_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="XPath not understood"):
        translate(path)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=200), st.integers(1, 6), st.booleans())
def test_copies_are_counted_as_trafilatura_counts_them(texts: list[str], limit: int, anew: bool) -> None:
    ours, theirs = cleaning.Seen(limit, anew), LRUCache(limit)
    assert [ours.increment(text) for text in texts] == [theirs.increment(text) for text in texts]
    ours.new_pass()
    if anew:
        theirs.clear()
    assert [ours.increment(text) for text in texts] == [theirs.increment(text) for text in texts]


@given(st.one_of(st.none(), st.text(alphabet=" \t\n\x0b\x0c\x1c\x85\xa0\u2028\u3000ab")))
def test_trim(text: str | None) -> None:
    assert cleaning.trim(text) == trafilatura.utils.trim(text)


def test_trafilatura_itself_is_left_as_it_was() -> None:
    extract.extract(b"<html><body><p>some text</p></body></html>", None, extract.Config())
    assert all(isinstance(expression, XPath) for expression in xpaths.OVERALL_DISCARD_XPATH)
    assert htmlprocessing.tree_cleaning.__module__ == "trafilatura.htmlprocessing"
    assert private.load().htmlprocessing is not htmlprocessing


@pytest.mark.parametrize("change", ["version", "sources"])
def test_another_trafilatura_is_called_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    page = "<html><body><article><p>" + "A sentence of the page. " * 20 + "</p></article></body></html>"
    expected = extract._main_text(page, extract.Config())
    if change == "version":
        monkeypatch.setattr(private, "_version", lambda: "2.4.0")
    else:
        monkeypatch.setattr(private, "sources_hash", lambda folder: "0")
    monkeypatch.setattr(trafilatura_fast, "main_text", lambda *_: pytest.fail("the fast path was taken"))
    private.load.cache_clear()
    by_trafilatura._is_fast.cache_clear()
    try:
        assert extract._main_text(page, extract.Config()) == expected
        assert extract._main_text(page, extract.Config()) == expected
    finally:
        by_trafilatura._is_fast.cache_clear()
        private.load.cache_clear()
    (record,) = caplog.records  # said once
    assert "called as it is" in record.getMessage()
    assert "2.4.0" in record.getMessage() or change == "sources"


def test_a_trafilatura_of_other_passes_is_not_called_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "_copy", lambda *_: Namespace(main_extractor=Namespace(), core=Namespace()))
    private.load_forgetful.cache_clear()
    page, config = "<html><body><p>text</p></body></html>", extract.Config(accelerated=False)
    try:
        with pytest.raises(ValueError, match=r"passes of trafilatura .* set count_retries = true"):
            extract._main_text(page, config)
    finally:
        private.load_forgetful.cache_clear()
    assert extract._main_text(page, replace(config, count_retries=True)) == "text"


def test_without_trafilatura_there_is_no_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    private.load.cache_clear()
    try:
        assert trafilatura_fast.available() == "trafilatura is not installed"
    finally:
        private.load.cache_clear()


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_memory_is_flat_over_fifty_passes(testdata: Path) -> None:
    pages = every_page(testdata)[::10]
    used = []
    for _ in range(50):
        for page in pages:
            extract._main_text(page, ANY_SIZE)
        gc.collect()
        used.append(resident())
    # the first passes fill what remembers a limited number of values
    assert max(used[10:]) <= 1.1 * min(used[10:])
    print(f"resident after 10 passes {used[10]:.0f} MB, after 50 {used[-1]:.0f} MB", file=sys.stderr)


def resident() -> float:
    """Memory in use, in MB; on systems that do not tell it, the most that was ever used."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
