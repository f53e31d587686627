"""The frame around a page's own text, which an extractor has to remove.

In: address, title and the HTML of the content. Out: a whole page with navigation, search, sidebar, related links,
cookie notice, footer, style and script. There are three frames, and all pages of a host have one frame, because
boilerplate repeats within a site and differs between sites.
"""

from __future__ import annotations

import html
import zlib
from urllib.parse import urlsplit

_STYLE = (
    "body{margin:0;font:16px/1.5 sans-serif}nav ul{display:flex;list-style:none}.sidebar{float:left;width:16rem}"
    ".cookie-banner{position:fixed;bottom:0}"
)
_SCRIPT = "window.pageReady=function(){document.body.className+=' ready';};"
_MENU = ("Home", "Documentation", "Tutorial", "Downloads", "Community", "Sponsors", "About")


def page(url: str, title: str, main: str, *, language: str = "en", head: str = "", charset: str = "utf-8") -> str:
    """A whole HTML page around `main`; `head` is added to its <head>, `charset` named in a <meta> (none if empty)."""
    frame = (_manual, _magazine, _plain)[zlib.crc32((urlsplit(url).hostname or "").encode()) % 3]
    meta = f'<meta charset="{charset}">' if charset else ""
    escaped = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>{meta}<title>{escaped}</title>'
        f'<meta name="viewport" content="width=device-width">{head}<style>{_STYLE}</style>'
        f"<script>{_SCRIPT}</script></head>\n<body>\n{frame(url, escaped, main)}\n</body>\n</html>\n"
    )


def _links(names: tuple[str, ...], folder: str = "") -> str:
    return "".join(f'<li><a href="{folder}/{name.lower().replace(" ", "-")}/">{name}</a></li>' for name in names)


def _manual(url: str, title: str, main: str) -> str:
    """A manual: breadcrumb, sidebar with a table of contents, previous and next, footer."""
    host = html.escape(urlsplit(url).hostname or "")
    return (
        f'<header class="site-header"><a class="logo" href="/">{host}</a><nav><ul>{_links(_MENU)}</ul></nav>'
        '<form role="search" action="/search"><input name="q" placeholder="Quick search"><button>Go</button></form>'
        "</header>\n"
        '<div class="sidebar" role="navigation"><h4>Table of contents</h4>'
        f"<ul>{_links(('Quickstart', 'User guide', 'Reference', 'Release notes', 'Glossary'), '/docs')}</ul>"
        '<h4>This page</h4><ul><li><a href="/bugs">Report a bug</a></li><li><a href="/source">Show source</a></li>'
        "</ul></div>\n"
        f'<main role="main"><article class="body"><h1>{title}</h1>\n{main}\n</article></main>\n'
        '<nav class="related"><ul><li><a href="/prev" rel="prev">Previous topic</a></li>'
        '<li><a href="/next" rel="next">Next topic</a></li><li><a href="/genindex">Index</a></li></ul></nav>\n'
        f'<footer class="footer"><p>Copyright 2026, the makers of {host}.</p>'
        '<p><a href="/privacy">Privacy</a> | <a href="/imprint">Imprint</a></p></footer>'
    )


def _magazine(url: str, title: str, main: str) -> str:
    """A magazine: banner, share buttons, related articles, newsletter form."""
    host = html.escape(urlsplit(url).hostname or "")
    related = "".join(f'<li><a href="/more/{n}">{title}: part {n}</a></li>' for n in (2, 3, 4))
    return (
        '<div class="cookie-banner">We use cookies to make this site work. <button>Accept all</button></div>\n'
        f'<div id="top-menu" class="menu"><ul>{_links(_MENU)}</ul></div>\n'
        f'<div class="content" id="content"><h1>{title}</h1><div class="share">Share: <a href="#">Mail</a> '
        f'<a href="#">Link</a> <a href="#">Print</a></div>\n<div class="entry-content">{main}</div></div>\n'
        f'<aside class="related-posts"><h3>You may also like</h3><ul>{related}</ul></aside>\n'
        '<div class="newsletter"><form action="/subscribe"><label>Subscribe to our newsletter '
        '<input type="email" name="address"></label></form></div>\n'
        f'<div id="footer" class="footer">{host} - all rights reserved - <a href="/contact">Contact</a></div>'
    )


def _plain(url: str, title: str, main: str) -> str:
    """A plain page: one line of links above, one below."""
    host = html.escape(urlsplit(url).hostname or "")
    return (
        f'<p class="navigation"><a href="/">{host}</a> &gt; <a href="/all">All pages</a> &gt; {title}</p>\n'
        f'<div id="main"><h1>{title}</h1>\n{main}</div>\n'
        f'<div class="navigation bottom"><ul>{_links(("Top", "Contents", "Search", "Print view"))}</ul></div>\n'
        "<address>Made with a text editor.</address>"
    )
