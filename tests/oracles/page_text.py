"""The long lines of an HTML page, without addresses: the slow twin of corpus.language.kernels.page_text.

First the page is cut into pieces: characters, ends of lines, and markup within lines. Then lines are put together from
the pieces, and the long lines are taken until there are enough characters.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from html.entities import name2codepoint

INLINE = {
    *("a", "abbr", "acronym", "b", "basefont", "bdi", "bdo", "big", "blink", "cite", "code", "data", "del", "dfn"),
    *("em", "font", "i", "img", "ins", "kbd", "label", "mark", "meter", "nobr", "output", "q", "rb", "rp", "rt"),
    *("ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"),
}
SKIPPED = {
    *("script", "style", "noscript", "template", "title", "textarea", "iframe", "noembed", "noframes", "xmp"),
    *("select", "object", "canvas", "audio", "video"),
}
FOREIGN = {"svg", "math"}
_TAG = re.compile(rb"<(/?)([A-Za-z][^ \t\n\x0c\r/>]*)")
_REFERENCE = re.compile(rb"&([^;]{0,10});")
_LINE_END, _BODY = None, 0


def long_lines(html: bytes, line_chars: int, max_chars: int) -> bytes:
    """The lines of at least `line_chars` characters, up to `max_chars` characters in all, each with a newline.

    If the page has a <body>, only the text behind the first one counts.
    """
    behind = list(pieces(html))
    if _BODY in behind:
        behind = list(itertools.dropwhile(lambda piece: piece != _BODY, behind))[1:]
    taken: list[bytes] = []
    line = b""
    total = count = 0  # characters of the lines that are taken; characters of this line
    space = False
    for piece in behind:
        enough = total >= max_chars or (count >= line_chars and total + count >= max_chars)
        is_rest = isinstance(piece, bytes) and bool(re.match(rb"[\x80-\xbf]", piece))  # bytes of a broken character
        if enough and not is_rest:
            break
        if piece is _LINE_END or piece == _BODY:
            if count >= line_chars:
                taken.append(line + b"\n")
                total += count
            line, count, space = b"", 0, False
        elif piece == b" ":
            space = True
        elif is_rest:
            line += piece
        elif piece:
            line += (b" " if space and count else b"") + piece
            count += 2 if space and count else 1
            space = False
    return b"".join([*taken, line + b"\n"] if count >= line_chars else taken)


def pieces(html: bytes) -> Iterator[bytes | int | None]:
    """Characters of text, each as UTF-8; b" " for white space; None where a line ends; 0 for a <body> tag.

    Markup within a line is b"". A run of continuation bytes behind no character is a piece of its own.
    """
    while html:
        if html.startswith(b"<"):
            rest, ends_line = after_markup(html)
            if rest is not None:
                if re.match(rb"<body[ \t\n\x0c\r/>]", html, re.IGNORECASE):
                    yield _BODY
                else:
                    yield _LINE_END if ends_line else b""
                html = rest
                continue
        elif html.startswith(b"&") and (match := _REFERENCE.match(html)) and (code := character(match[1])) is not None:
            html = html[match.end() :]
            yield b"" if code == 0xAD else chr(code).encode()  # a soft hyphen shows only where a line breaks
            continue
        size = 1 + next((i for i, b in enumerate(html[1:]) if not 0x80 <= b <= 0xBF), len(html) - 1)
        blank = html[0] <= 0x20 and html[0] != 0x1B  # the escape of other encodings is kept
        yield b" " if blank else html[:size]
        html = html[1:] if blank else html[size:]


def after_markup(html: bytes) -> tuple[bytes | None, bool]:
    """(the page behind the markup that begins it, whether a line ends there); (None, False) if no markup begins it."""
    if html.startswith(b"<!--"):
        end = re.compile(rb"-->").search(html, 2)
        return (html[end.end() :] if end else b""), False
    match = _TAG.match(html)
    if match is None:
        if html[1:2] in (b"!", b"?", b"/"):
            return html[2:].partition(b">")[2], False
        return None, False
    name = match[2].decode("latin_1").lower() if len(match[2]) <= 8 else ""
    tag, rest = cut_tag(html[match.end() :])
    opens = not match[1] and not (name in FOREIGN and (match[0] + tag)[-2:-1] == b"/")
    if opens and (name in SKIPPED or name in FOREIGN):
        end = re.compile(rb"</" + re.escape(name.encode()) + rb"(?=[ \t\n\x0c\r/>]|\Z)", re.IGNORECASE).search(rest)
        rest = rest[end.start() :] if end else b""
    return rest, name not in INLINE


def cut_tag(html: bytes) -> tuple[bytes, bytes]:
    """(the rest of a tag, the page behind the tag); `html` begins behind the name of the tag."""
    at = 0
    while True:
        match = re.compile(rb"[>\"']").search(html, at)
        if match is None:
            return html, b""
        at = match.end()
        if match[0] == b">":
            return html[:at], html[at:]
        if html[: match.start()].rstrip(b" \t\n\x0c\r").endswith(b"="):
            closing = html.find(match[0], at)
            if closing < 0:
                return html, b""
            at = closing + 1


def character(reference: bytes) -> int | None:
    """The code point of the reference between & and ;, 0x20 where it is no character of text; None if it is unknown."""
    if match := re.fullmatch(rb"#([0-9]+)|#[xX]([0-9a-fA-F]+)", reference):
        code = int(match[1]) if match[1] else int(match[2], 16)
    elif reference == b"apos":
        code = 39
    elif (name := reference.decode("latin_1")) in name2codepoint:
        code = name2codepoint[name]
    else:
        return None
    visible = 0x20 < code < 0x7F or 0xA0 < code < 0xD800 or 0xE000 <= code <= 0x10FFFF
    return code if visible else 0x20
