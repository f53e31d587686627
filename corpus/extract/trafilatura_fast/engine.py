"""HTML -> main text, by the private copy of trafilatura with our parts in it.

Importing this module puts the parts in. It raises `private.Unknown` if the installed trafilatura is not version 2.3.1.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Iterator
from copy import copy
from typing import Any
from unicodedata import normalize

from lxml import etree
from lxml.html import HtmlComment, HtmlElement, HtmlEntity, HtmlProcessingInstruction

from corpus.extract.trafilatura_fast import cleaning, private, rescue
from corpus.extract.trafilatura_fast.grammar import translate
from corpus.extract.trafilatura_fast.sequence import sequence

_private = private.load()
_utils, _xpaths = _private.utils, _private.xpaths
_EXPRESSIONS = (
    *("BODY_XPATH", "COMMENTS_XPATH", "COMMENTS_DISCARD_XPATH", "DISCARD_IMAGE_ELEMENTS", "OVERALL_DISCARD_XPATH"),
    *("PRECISION_DISCARD_XPATH", "RAW_TREE_PRUNE_XPATH", "REMOVE_COMMENTS_XPATH", "REMOVE_COMMENTS_AND_LISTS_XPATH"),
    "TEASER_DISCARD_XPATH",
)
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\r")


def main_text(html: str, focus: str, tables: bool, comments: bool, remembered: int, count_retries: bool) -> str | None:
    """The main text of a page, as trafilatura 2.3.1 finds it; None if it finds none.

    focus          precision, balanced or recall
    tables         keep the text of tables
    comments       keep readers' comments
    remembered     how many segments of the page are remembered, to drop later copies of them; 0 keeps all copies
    count_retries  count a segment again in each pass over the page, as trafilatura does. Without it, each pass counts
                   from zero: the text is that of a trafilatura that forgets all segments before each pass

    Raises every exception that trafilatura raises for odd markup.
    """
    options = copy(_options(focus, tables, comments))
    options.dedup = cleaning.Seen(remembered, anew=not count_retries) if remembered else False
    with _without_collections():
        return _main_text(html, options, remembered)


def _main_text(html: str, options: Any, remembered: int) -> str | None:
    try:
        tree = _utils.load_html(html, options.max_file_size)
        if tree is None:
            return None
        forum = "DiscussionForumPosting" in html and _private.core._forum_thread_page(tree)
        body, text, comments_body, comments_text = sequence(tree, options, forum)
        if len(text) < options.min_output_size and len(comments_text) < options.min_output_comm_size:
            return None
        if remembered:
            options.dedup.new_pass()
            if cleaning.duplicate_test(body, options):
                return None
    except (TypeError, ValueError):  # trafilatura, too, answers that there is no text
        return None
    main = _private.xml.xmltotxt(body, False)
    return normalize("NFC", f"{main}\n{_private.xml.xmltotxt(comments_body, False)}".strip())


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Switch off the search for garbage in cycles, which the thousands of elements of a page would start many times.

    lxml's elements form no cycles. Other garbage of the page is found when the search is on again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@functools.cache
def _options(focus: str, tables: bool, comments: bool) -> Any:
    return _private.settings.Extractor(
        precision=focus == "precision", recall=focus == "recall", comments=comments, tables=tables
    )


def _repair_faulty_html(html: str, beginning: str) -> str:
    """The HTML without control characters, a faulty doctype, or an `<html/>` that ends at once."""
    data = html.encode("utf-8", "surrogatepass")
    if len(data.translate(None, _CONTROLS)) != len(data) or "\ufffe" in html or "\uffff" in html:
        html = _utils.INVALID_XML_CHARS.sub("", html)
    if "doctype" in beginning:
        end = html.find("\n")
        if end < 0 or _utils.DOCTYPE_TAG.match(html, 0, end):
            first, _, rest = html.partition("\n")
            html = _utils.DOCTYPE_TAG.sub("", first, count=1) + "\n" + rest
    for line in html[:4096].splitlines()[:4]:
        if "<html" in line and line.endswith("/>"):
            return str(_utils.FAULTY_HTML.sub(r"\1>", html, count=1))
    return html


def _say_nothing(*_: object) -> None:
    """Takes the place of a function that composes debug messages, which nobody reads."""


def _install() -> None:
    for name in _EXPRESSIONS:
        expressions = getattr(_xpaths, name)
        expressions[:] = [translate(expression.path) for expression in expressions]
    _private.baseline.BASIC_CLEAN_XPATH = translate(_private.settings.BASIC_CLEAN_XPATH.path)
    # lxml.html chooses the class of each element by a call into Python. No step here needs the methods of a form.
    parser = etree.HTMLParser(
        collect_ids=False, default_doctype=False, encoding="utf-8", remove_comments=True, remove_pis=True
    )
    parser.set_element_class_lookup(
        etree.ElementDefaultClassLookup(
            element=HtmlElement, comment=HtmlComment, pi=HtmlProcessingInstruction, entity=HtmlEntity
        )
    )
    _utils.HTML_PARSER = parser
    _utils.repair_faulty_html = _repair_faulty_html
    for module in (_private.htmlprocessing, _private.main_extractor, _private.external, _private.core):
        for part in _PARTS:
            if hasattr(module, part.__name__):
                setattr(module, part.__name__, part)
    _private.main_extractor._log_event = _say_nothing
    _private.external.classify_paragraphs = rescue.classify_paragraphs
    _private.external.JT_STOPLIST = ("known to the replacement",)
    for module in (_private.baseline, _private.readability_lxml, _private.deduplication):
        module.trim = cleaning.trim


_PARTS: tuple[Any, ...] = (
    *(cleaning.trim, cleaning.duplicate_test, cleaning.tree_cleaning, cleaning.prune_html, cleaning.convert_tags),
    *(cleaning.prune_unwanted_nodes, cleaning.delete_by_link_density, cleaning.link_density_test),
    *(cleaning.link_density_test_tables, cleaning.prune_unwanted_sections),
)
_install()
