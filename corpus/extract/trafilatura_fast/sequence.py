"""The order of steps that finds the text of a parsed page: trafilatura's, with fewer copies and an equal result.

Trafilatura copies the page four times, to keep the state of earlier steps for later ones, which need it rarely. Here a
step that needs an earlier state has it made again, by the same steps from the same page. Trafilatura also asks another
algorithm, Readability, for a second opinion, and prefers its text if that is longer than a bound. But no text is longer
than the whole text of the page. So Readability is asked only where the whole text is longer than the bound.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import copy
from typing import Any

from lxml.etree import Element, strip_elements, strip_tags, tostring

from corpus.extract.trafilatura_fast import private
from corpus.extract.trafilatura_fast.cleaning import (
    convert_tags,
    delete_element,
    discarded,
    outermost,
    prune_unwanted_nodes,
    text_of,
    together,
    tree_cleaning,
    trim,
)

_private = private.load()
_core, _main, _external = _private.core, _private.main_extractor, _private.external
_xpaths = _private.xpaths

_LOGGER = logging.getLogger(private.NAME)
_Text = tuple[Any, str, Any, str]  # body, its text, comments, their text
# HTML parsers do not decode the content of these elements: written as XML (`&lt;`) and parsed again, it is longer.
_RAW_TEXT = ("noembed", "noframes", "plaintext", "xmp")
_UNCLEAN = tuple(path.removeprefix(".//") for path in _external.SANITIZED_XPATH.split("|"))
_UNSEEN = ("script", "style")


def sequence(tree: Any, options: Any, forum: bool) -> _Text:
    """(body, its text, comments, their text) of a parsed page. Changes the page."""
    precision = options.focus == "precision"
    if precision:
        # No later step reads these elements (only `baseline`, which precision never asks, looks for JSON in scripts).
        # Without them there is less to walk and to copy.
        for element in list(tree.iter(*_UNSEEN)):
            delete_element(element)
    names = ["RAW_TREE_PRUNE_XPATH"]
    if not options.comments and (precision or not forum):
        names.append("REMOVE_COMMENTS_AND_LISTS_XPATH")
    for elements in together(*names)(tree):
        for element in elements:
            delete_element(element)

    def cleaned() -> Any:
        return tree_cleaning(copy(tree), options)

    def converted() -> Any:
        return convert_tags(cleaned(), options)

    start = converted()
    comments, comments_text = Element("body"), ""
    posts = None
    again: Callable[[], Any] | None = converted
    if options.comments:
        comments, comments_text, start = _main.extract_comments(start, options)
        again = None  # the search for comments has changed the tree
        if comments_text and forum:
            posts = comments
            comments, comments_text = Element("body"), ""
            start, again = converted(), converted
    if precision and not forum:
        start = prune_unwanted_nodes(start, _xpaths.REMOVE_COMMENTS_XPATH)
        if again is not None:
            again = lambda: prune_unwanted_nodes(converted(), _xpaths.REMOVE_COMMENTS_XPATH)  # noqa: E731
    body, text = extract_content(start, again, options)
    body, text = compare_extraction(cleaned, tree, body, text, options)
    return _later_stages(tree, options, forum, posts, (body, text, comments, comments_text))


def extract_content(tree: Any, again: Callable[[], Any] | None, options: Any) -> tuple[Any, str]:
    """(body, its text) by trafilatura's own rules. `again` makes a copy of `tree` as it is now; None if it cannot."""
    backup = copy(tree) if again is None else None
    order = list(tree.iter())
    body, text, tags = _main._extract(tree, options)
    if len(body) == 0 or len(text) < options.min_extracted_size:
        if backup is None:
            assert again is not None
            backup = again()
        consumed = {twin for element, twin in zip(order, backup.iter(), strict=True) if element.tag == "done"}
        body = _main.recover_wild_text(backup, body, options, tags, consumed)
        text = " ".join(body.itertext()).strip()
    _drop_repeats(body)
    strip_elements(body, "done")
    strip_tags(body, "div")
    for line_break in body.iter("lb"):
        tail = line_break.tail
        if tail and tail.isspace() and next(line_break.iterancestors("code", "pre"), None) is None:
            line_break.tail = None
    return body, text


def _drop_repeats(body: Any) -> None:
    """Delete each long element with the text of the element before it."""
    previous = None
    for element in list(body):
        current = trim("".join(element.itertext()))
        if current and current == previous and len(current) > _private.settings.MIN_DUPLICATE_LENGTH:
            delete_element(element, keep_tail=False)
        else:
            previous = current


def compare_extraction(cleaned: Callable[[], Any], tree: Any, body: Any, text: str, options: Any) -> tuple[Any, str]:
    """Choose between trafilatura's own text, the text of Readability and the text of jusText. `tree` stays as it is."""
    own = len(text)
    if options.focus == "recall" and own > options.min_extracted_size * 10:
        return body, text
    readable = _readable(tree, body, own, options)
    if readable is not None:
        body, text = readable
    unclean = next(body.iterdescendants(*_UNCLEAN), None) is not None
    if unclean or len(text) < options.min_extracted_size:
        other, other_text = _external.justext_rescue(cleaned(), options)
        accepted = (
            len(text) <= _external.JUSTEXT_OVERRIDE_RATIO * len(other_text) if unclean else len(text) < len(other_text)
        )
        if other_text and accepted:
            return other, other_text
    if readable is not None:
        body, text = _external.sanitize_tree(body, options)
    return body, text


def _readable(tree: Any, body: Any, own: int, options: Any) -> tuple[Any, str] | None:
    """(body, its text) by Readability, if it is preferred to trafilatura's text of `own` characters; else None."""
    precision = options.focus == "precision"
    longest = _longest_text(tree)
    if not _may_win(longest, body, own, options):
        return None
    if precision and longest is not None:
        longest -= sum(map(_seen, outermost(discarded(tree))))
        if not _may_win(longest, body, own, options):
            return None
    tree = copy(tree)
    if precision:
        tree = prune_unwanted_nodes(tree, _xpaths.OVERALL_DISCARD_XPATH)
    answer = _external.try_readability(tree)
    text = trim(tostring(answer, method="text", encoding="unicode"))
    preferred = _external._prefer_readability(body, answer, text, own, len(text), options)
    return (answer, text) if preferred else None


def _longest_text(tree: Any) -> int | None:
    """An upper bound of the characters that Readability can find; None if no bound is known.

    Readability deletes and moves elements, writes them as XML and parses them again as HTML. This makes two things
    longer: text in elements whose content HTML does not decode, and frames, which become the word VIDEO. The trimmed
    text of an element is a part of the trimmed text of the page.
    """
    if next(tree.iter(*_RAW_TEXT), None) is not None:
        return None
    return _seen(tree) + len(tree.tail or "") + sum(5 for _ in tree.iter("iframe"))


def _seen(element: Any) -> int:
    """Characters of the trimmed text of an element, without scripts and styles."""
    return len(trim(text_of(element))) - sum(len(trim(text_of(unseen))) for unseen in element.iterdescendants(*_UNSEEN))


def _may_win(longest: int | None, body: Any, own: int, options: Any) -> bool:
    """Whether a text of at most `longest` characters can be preferred to trafilatura's text of `own` characters."""
    if longest is None:
        return True
    if longest == 0 or own > 2 * longest:
        return False
    if own == 0 or longest > 2 * own or (options.focus == "recall" and longest > own):
        return True
    return longest > 2 * options.min_extracted_size and (
        not body.xpath(".//p//text()") or len(body.findall(".//table")) > len(body.findall(".//p"))
    )


def _later_stages(tree: Any, options: Any, forum: bool, posts: Any, text_so_far: _Text) -> _Text:
    """The text after the steps for pages with little text (not for precision), and with lost posts of a forum."""
    body, text, comments, comments_text = text_so_far
    if len(text) < options.min_extracted_size and options.focus != "precision":
        other, other_text, length = _core.baseline(tree)
        if length > len(text):
            body, text, posts = other, other_text, None
    if (
        options.focus == "balanced"
        and 0 < len(text) < _core.ESCALATION_MAX_LENGTH
        and len(text) < _core.ESCALATION_PAGE_SHARE * len(_core.html2txt(tree))
    ):
        retried = _retry_for_recall(tree, options, forum, bool(comments_text), text)
        if retried is not None:
            body, text = retried
            posts = None
    if posts is not None:
        existing = "\n".join(filter(None, map(_joined, body)))
        lost = [post for post in posts if (words := _joined(post)) and words not in existing]
        if lost:
            body.extend(lost)
            text = " ".join(body.itertext()).strip()
    return body, text, comments, comments_text


def _retry_for_recall(tree: Any, options: Any, forum: bool, comments: bool, text: str) -> tuple[Any, str] | None:
    """(body, its text) by a second run in favour of recall, or by jusText, if one text is long enough; else None."""
    recall = copy(options)
    recall.focus = "recall"
    if not forum and options.comments:
        removed = _xpaths.REMOVE_COMMENTS_AND_LISTS_XPATH if comments else _xpaths.REMOVE_COMMENTS_XPATH
        tree = prune_unwanted_nodes(copy(tree), removed)

    def cleaned() -> Any:
        return tree_cleaning(copy(tree), recall)

    def converted() -> Any:
        return convert_tags(cleaned(), recall)

    again_text = just_text = ""
    try:
        again_body, again_text = extract_content(converted(), converted, recall)
        again_body, again_text = compare_extraction(cleaned, tree, again_body, again_text, recall)
    except Exception as error:  # noqa: BLE001 - trafilatura, too, goes on with the first result
        _LOGGER.warning("second run for recall: %s", error)
    try:
        just_body, just_text = _external.justext_rescue(copy(tree), options)
    except Exception as error:  # noqa: BLE001
        _LOGGER.warning("jusText: %s", error)
    if len(just_text) > max(len(again_text), _core.ESCALATION_JUSTEXT_RATIO * len(text)):
        return just_body, just_text
    if len(again_text) >= options.min_extracted_size and len(again_text) > _core.ESCALATION_ACCEPT_RATIO * len(text):
        return again_body, again_text
    return None


def _joined(element: Any) -> str:
    return trim("".join(element.itertext()))
