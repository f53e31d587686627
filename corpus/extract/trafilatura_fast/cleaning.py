"""Steps that take elements out of a tree, and tests of how much of an element is links, in fewer walks over the tree.

Each function answers exactly as the function of its name in trafilatura 2.3.1 (htmlprocessing.py, utils.py,
deduplication.py) answers for plain text output: no images, no links, no formatting. These things save time:

- Trafilatura makes a pass over the tree for each of 60 tags. Here one pass finds which of them occur, and only they get
  a pass of their own. These passes are needed: lxml's iterator looks one element ahead, so that a pass which deletes
  nested elements of its tag ends early, and it has to end early here, too.
- Trafilatura tests the links of all elements twice. The second test is left out where the first has deleted nothing.
- libxml2 collects text, without lxml's "smart" strings.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from copy import copy
from typing import Any

from lxml.etree import XPath, strip_tags

from corpus.extract.trafilatura_fast.private import load
from corpus.extract.trafilatura_fast.xpath import Together

_private = load()
_html, _xpaths = _private.htmlprocessing, _private.xpaths
delete_element = _private.xml.delete_element

_CLEANED = tuple(tag for tag in _private.settings.MANUALLY_CLEANED if tag != "form")
_TABLES = ("table", "td", "th", "tr")
_STRIPPED = tuple(_private.settings.MANUALLY_STRIPPED)
_EMPTY = tuple(_private.settings.CUT_EMPTY_ELEMS)
_INLINE = tuple(_html.REND_TAG_MAPPING)
_CONVERSIONS = _html.CONVERSIONS
_DISCARDED = ("OVERALL_DISCARD_XPATH", "DISCARD_IMAGE_ELEMENTS", "TEASER_DISCARD_XPATH", "PRECISION_DISCARD_XPATH")
_OVERALL = len(_xpaths.OVERALL_DISCARD_XPATH)
_LINK_FARM_RATIO = _private.utils.LINK_FARM_RATIO

text_of = XPath("string()", smart_strings=False)
_length_of = XPath("string-length()")


def trim(text: str | None) -> str:
    """The text with one space for each run of white space, and none at its ends; "" for None."""
    return " ".join(text.split()) if text else ""


def length_of(element: Any) -> int:
    """Characters of all text in the element, without its tail."""
    return int(_length_of(element))


def duplicate_test(element: Any, options: Any) -> bool:
    """Whether the text of an element is long enough to matter and was seen more than `max_repetitions` times before."""
    text = " ".join(" ".join(element.itertext()).split()) if len(element) else trim(element.text)
    previous = options.dedup.increment(text)
    return bool(len(text) > options.min_duplcheck_size and previous > options.max_repetitions)


class Seen:
    """Counts how often each text was seen. Of more than `limit` texts, the least recently seen one is forgotten.

    Trafilatura makes several passes over a page: it searches one part of the page after another until it finds text,
    and then the whole page. `anew`: each pass counts from zero. Otherwise all passes are counted together, as
    trafilatura does, so that a text that occurs once on the page may be taken for its own fourth copy.
    """

    def __init__(self, limit: int, anew: bool = False) -> None:
        self._limit = limit
        self._anew = anew
        self._counts: dict[str, int] = {}

    def new_pass(self) -> None:
        """Trafilatura begins to search a part of the page, or judges what it has found."""
        if self._anew:
            self._counts.clear()

    def increment(self, text: str) -> int:
        """Count the text once more. Returns the count before, -1 for a text that was never seen."""
        counts = self._counts
        previous = counts.pop(text, -1)
        counts[text] = max(previous, 0) + 1
        if len(counts) > self._limit:
            del counts[next(iter(counts))]
        return previous


def tree_cleaning(tree: Any, options: Any) -> Any:
    """The tree without elements that are never content: scripts, forms, navigation, empty elements.

    Changes the tree. The answer is another tree only where all paragraphs would be lost.
    """
    _html.recover_math(tree)
    cleaned = _CLEANED
    if options.tables:
        for element in tree.iter("figure", "table"):
            if element.tag == "figure":
                layout = next(element.iterdescendants("table"), None) is not None
            else:
                layout = element.get("role") in ("presentation", "none")
            if layout:
                element.tag = "div"
    else:
        cleaned += _TABLES
    strip_tags(tree, *_STRIPPED)
    rescue = None
    if (
        options.focus == "recall"
        and next(tree.iterdescendants("p"), None) is not None
        and not any(next(p.iterancestors(*cleaned), tree) is tree for p in tree.iter("p"))
    ):
        rescue = copy(tree)
    present = {element.tag for element in tree.iter(*cleaned)}
    for tag in cleaned:
        if tag in present:
            for element in tree.iter(tag):
                delete_element(element)
    if rescue is not None and next(tree.iterdescendants("p"), None) is None:
        tree = rescue
    _html._handle_forms(tree)
    return prune_html(tree, options.focus)


def prune_html(tree: Any, focus: str) -> Any:
    """Delete elements without text and children. Their tails stay, except for precision."""
    tails = focus != "precision"
    for element in [e for e in tree.iterdescendants(*_EMPTY) if len(e) == 0 and e.text is None]:
        delete_element(element, keep_tail=tails)
    return tree


def convert_tags(tree: Any, options: Any, url: str | None = None) -> Any:
    """Turn the tags of HTML into the few tags of trafilatura's own format."""
    containers = ("div", "li", "p", "table") if options.tables else ("div", "li", "p")
    for element in tree.iter("a"):
        if next(element.iterancestors(*containers), tree) is not tree:
            element.tag = "ref"
    strip_tags(tree, "a")
    for element in tree.iter("strong"):
        if "schema-faq-question" in element.get("class", ""):
            element.attrib.clear()
            element.set("rend", "h3")
            element.tag = "head"
    for element in tree.iter("sub", "sup"):
        if not element.text and len(element) == 0:
            delete_element(element)
    strip_tags(tree, *_INLINE)
    for element in tree.iter(*_CONVERSIONS):
        _CONVERSIONS[element.tag](element)
    return tree


def prune_unwanted_nodes(tree: Any, expressions: list[Any], with_backup: bool = False) -> Any:
    """Delete the elements that the expressions select; `with_backup`: only if less than 6/7 of the text is lost."""
    if not with_backup:
        for expression in expressions:
            for element in expression(tree):
                delete_element(element)
        return tree
    for element in unwanted(tree, [element for expression in expressions for element in expression(tree)]):
        delete_element(element)
    return tree


def unwanted(tree: Any, selected: Iterable[Any]) -> list[Any]:
    """The outermost of the selected elements; none if they have six sevenths of the text."""
    outer = outermost(selected)
    before = length_of(tree) if outer else 0
    return outer if before - sum(map(length_of, outer)) > before / 7 else []


def outermost(selected: Iterable[Any]) -> list[Any]:
    """The selected elements that are inside of no other selected element, each once."""
    within = dict.fromkeys(selected, True)  # element -> whether it is selected, or inside of a selected element
    outer = []
    for element in list(within):
        path = []
        above = element.getparent()
        while above is not None and above not in within:
            path.append(above)
            above = above.getparent()
        inside = above is not None and within[above]
        within.update(dict.fromkeys(path, inside))
        if not inside:
            outer.append(element)
    return outer


def discarded(tree: Any) -> list[Any]:
    """The elements that OVERALL_DISCARD_XPATH selects, some of them more than once.

    The walk also answers the other expressions of `prune_unwanted_sections`, so that both functions share the answers
    that are remembered.
    """
    return list(itertools.chain.from_iterable(together(*_DISCARDED)(tree)[:_OVERALL]))


@functools.cache
def together(*names: str) -> Together:
    """All expressions of the lists with these names, for one walk."""
    return Together([expression for name in names for expression in getattr(_xpaths, name)])


def prune_unwanted_sections(tree: Any, tags: set[str], options: Any, keep_teasers: bool = False) -> Any:
    """Take boilerplate out of a part of the page: first by class and id, then by how much of an element is links.

    Each pass over the page begins with this step.
    """
    if options.dedup:
        options.dedup.new_pass()
    precision = options.focus == "precision"
    left_out = set() if precision else {"PRECISION_DISCARD_XPATH"}
    if keep_teasers or options.focus == "recall":
        left_out.add("TEASER_DISCARD_XPATH")
    selected = together(*(name for name in _DISCARDED if name not in left_out))(tree)
    for element in unwanted(tree, [element for elements in selected[:_OVERALL] for element in elements]):
        delete_element(element)
    for elements in selected[_OVERALL:]:
        for element in elements:
            delete_element(element)
    with_links = next(tree.iter("ref"), None) is not None
    if with_links and delete_links(tree, precision):
        delete_links(tree, precision)
    if with_links and ("table" in tags or precision):
        for table in [element for element in tree.iter("table") if link_density_test_tables(element)]:
            delete_element(table, keep_tail=False)
    if precision:
        while len(tree) > 0 and tree[-1].tag == "head":
            delete_element(tree[-1], keep_tail=False)
        if with_links:
            delete_by_link_density(tree, "head", favor_precision=True)
            delete_by_link_density(tree, "quote", favor_precision=True)
    strip_tags(tree, "span", "ref")
    return tree


def delete_links(tree: Any, precision: bool) -> bool:
    """Delete containers, lists and paragraphs that are mostly links. Returns whether there were any."""
    deleted = [
        delete_by_link_density(tree, "div", backtracking=True, favor_precision=precision),
        delete_by_link_density(tree, "list", favor_precision=precision),
        delete_by_link_density(tree, "p", favor_precision=precision),
    ]
    return any(deleted)


def delete_by_link_density(tree: Any, tag: str, backtracking: bool = False, favor_precision: bool = False) -> bool:
    """Delete the elements of a tag that are mostly links. Returns whether there were any."""
    longest, fewest = (200, 1) if favor_precision else (100, 3)
    deletions = []
    for element in tree.iter(tag):
        links, short = link_density_test(element, favor_precision)
        if links or (backtracking and short and len(element) >= fewest and len(trim(text_of(element))) < longest):
            if tag == "p":
                parent = element.getparent()
                if parent is not None and parent.tag in ("item", "td", "th"):
                    continue
            deletions.append(element)
    for element in deletions:
        delete_element(element)
    return bool(deletions)


def link_density_test(element: Any, favor_precision: bool = False) -> tuple[bool, bool]:
    """(whether the element is mostly links, whether it is short and has links)"""
    links = list(element.iterdescendants("ref"))
    if not links or next(element.iterdescendants("graphic"), None) is not None:
        return False, False
    text = trim(text_of(element))
    size = len(text)
    if len(links) == 1:
        alone = len(trim(text_of(links[0])))
        if alone > (10 if favor_precision else 100) and alone > size * 0.9:
            return True, False
    if element.getnext() is None:
        limit = 60 if element.tag == "p" else 300
    else:
        limit = 30 if element.tag == "p" else 100
    if size < limit:
        lengths = link_lengths(links)
        if not lengths:
            return True, False
        short = sum(length < 10 for length in lengths)
        return sum(lengths) > size * 0.8 or (len(lengths) > 1 and short / len(lengths) > 0.8), True
    if len(links) > 4:
        lengths = link_lengths(links)
        linked = sum(lengths)
        if linked > size * _LINK_FARM_RATIO and linked < 100 * len(lengths) and not _html.is_paragraph_listing(links):
            return True, False
    return False, False


def link_density_test_tables(element: Any) -> bool:
    """Whether a table is mostly links."""
    links = list(element.iterdescendants("ref"))
    if not links:
        return False
    size = len(trim(text_of(element)))
    if size < 200:
        return False
    return sum(link_lengths(links)) > (0.8 if size < 1000 else 0.5) * size


def link_lengths(links: list[Any]) -> list[int]:
    """The lengths of the texts of the links, without blank texts."""
    return [length for length in (len(trim(text_of(link))) for link in links) if length]
