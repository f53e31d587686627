"""Pages -> pages that nobody would write: subtrees moved, nested and doubled, tags and attributes changed, bytes cut.

Everything is drawn from one `random.Random`, so that a seed and a page name a case.
"""

from __future__ import annotations

import random
import re
from typing import Any

from lxml import html as lxml_html
from lxml.etree import LxmlError, tostring

# what trafilatura has rules about, and a few that it has none about
TAGS = (
    *("a", "article", "aside", "b", "blockquote", "body", "br", "button", "caption", "center", "code", "dd"),
    *("del", "details", "div", "dl", "dt", "em", "embed", "figure", "font", "footer", "form", "graphic", "h1"),
    *("h2", "h3", "head", "header", "hi", "hr", "iframe", "img", "item", "lb", "li", "link", "list", "main"),
    *("math", "meta", "nav", "noembed", "noscript", "ol", "option", "p", "plaintext", "pre", "q", "quote"),
    *("ref", "script", "section", "select", "span", "strong", "style", "sub", "summary", "sup", "svg", "table"),
    *("tbody", "td", "textarea", "th", "thead", "time", "title", "tr", "ul", "video", "xmp", "foo", "o:p"),
)
VALUES = (
    *("comment-list", "comments-content", "disqus_thread", "respond", "story-body", "post-body", "fulltext"),
    *("entry-content", "post", "comment", "comments", "commentlist", "sidebar", "nav", "menu", "footer"),
    *("share", "teaser", "Teaser", "hidden", " hide", "cookie", "article-body", "main", "content"),
    *("page-content", "link", "bottom", "bottom-bar", "caption", "reply-1", "infinite-scroll"),
    *("mvp-post-add-box", "elementor-share-buttons", "w3-code", "hljs-x", "widget", "related", "author"),
    *("social", "newsletter", "main-content", "text", "story", "akismet", "cookie-banner"),
    *("schema-faq-question", "", "x"),
)
NAMES = (
    *("class", "id", "style", "role", "itemprop", "aria-hidden", "data-component", "href", "rend", "colspan"),
    *("rowspan",),
)
OTHERS = {
    "style": ("display:none", "display: none", "border:1px", "hidden"),
    "role": ("navigation", "Nav", "article", "main", "presentation", "none"),
    "itemprop": ("articleBody",),
    "aria-hidden": ("true", "false"),
    "data-component": ("MostPopularStories",),
    "colspan": ("2", "0", "-1", "1000", "²", "x"),
    "rowspan": ("2", "0", "99999", "x"),
}
PIECES = (
    *("&nbsp;", "&#13;", "&#0;", "&lt;p&gt;", "&amp;amp;", "&bogus;", "&#x1F600;", "\u2028", "\u200b", "\xa0", "\x0c"),
    *("</div>", "<div>", "</p>", "<p>", "<br>", "<!-- c -->", "<!--", "-->", "<![CDATA[x]]>", "<?php x ?>", "</body>"),
    *(
        "<table>",
        "</table>",
        "<td>",
        "<form>",
        "</form>",
        "<svg>",
        "<math>",
        "<noscript>",
        "<iframe src=//youtube.com/x>",
    ),
    *("Facebook", " \n \t ", "\r\n", "Mehr zum Thema:", "x" * 300, "A sentence of some length, with a comma. " * 3),
    '<script type="application/ld+json">{"@type": "DiscussionForumPosting", "articleBody": "b b b"}</script>',
)
WORDS = (
    *("harbour", "stone", "the", "of", "winter", "storm,", "and", "was", "town.", "Old", "1907", "ships"),
    *("&amp;", "wind", "comments", "by"),
)


def mutated(page: str, chance: random.Random) -> str:
    """The page after a few changes to its tree, its text, or both."""
    for _ in range(chance.randint(1, 3)):
        change = chance.choice((_change_tree, _change_tree, _change_text))
        page = change(page, chance)
    return page


def soup(chance: random.Random) -> str:
    """A page made of nothing but odd pieces."""
    parts = ["<html><body>" if chance.random() < 0.8 else ""]
    for _ in range(chance.randint(1, 120)):
        kind = chance.random()
        if kind < 0.4:
            parts.append(f"<{chance.choice(TAGS)}{_attributes(chance)}>")
        elif kind < 0.65:
            parts.append(f"</{chance.choice(TAGS)}>")
        elif kind < 0.75:
            parts.append(chance.choice(PIECES))
        else:
            parts.append(" ".join(chance.choices(WORDS, k=chance.randint(1, 60))))
    return "".join(parts)


def _attributes(chance: random.Random) -> str:
    names = chance.sample(NAMES, chance.choice((0, 1, 1, 2, 3)))
    return "".join(f' {name}="{_value(name, chance)}"' for name in names)


def _value(name: str, chance: random.Random) -> str:
    return chance.choice(OTHERS.get(name, VALUES))


def _change_text(page: str, chance: random.Random) -> str:
    at = chance.randint(0, len(page))
    kind = chance.randrange(5)
    if kind == 0:
        return page[:at] + page[at + chance.randint(1, 200) :]
    if kind == 1:
        return page[:at]
    if kind == 2:
        return page[:at] + chance.choice(PIECES) + page[at:]
    if kind == 3:
        return page[:at] + "<div>" * chance.randint(1, 300) + page[at:]
    piece = page[at : at + chance.randint(1, 2000)]
    return page[:at] + piece * chance.randint(2, 6) + page[at:]


def _change_tree(page: str, chance: random.Random) -> str:
    """The page after changes to its elements; unchanged if it cannot be parsed or written."""
    try:
        tree = lxml_html.fromstring(re.sub(r"<\?xml[^>]*>", "", page).encode("utf-8", "replace"))
        elements = list(tree.iter("*"))
    except (LxmlError, ValueError, AssertionError, TypeError):
        return page
    for _ in range(chance.randint(1, 12)):
        _change_element(chance.choice(elements), chance.choice(elements), chance)
    return str(tostring(tree, encoding="unicode", method="html"))


def _change_element(element: Any, other: Any, chance: random.Random) -> None:
    kind = chance.randrange(7)
    if kind == 0 and element.getparent() is not None:
        element.getparent().remove(element)
    elif kind == 1 and not any(ancestor is element for ancestor in other.iterancestors()) and other is not element:
        other.append(element)
    elif kind == 2:
        element.tag = chance.choice(TAGS[:-1])
    elif kind == 3:
        name = chance.choice(NAMES)
        element.set(name, _value(name, chance))
    elif kind == 4:
        element.attrib.clear()
    elif kind == 5:
        element.text = " ".join(chance.choices(WORDS, k=chance.randint(0, 80)))
    else:
        element.tail = chance.choice((" ", "\n", " ".join(chance.choices(WORDS, k=30)), ""))
