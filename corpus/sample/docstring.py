"""A docstring -> HTML, so that documentation reads as prose and not as a monospaced block.

In: the cleaned text of a docstring in any of the usual notations (plain paragraphs, numpydoc sections, Google
sections, Sphinx field lists). Out: HTML with <h3>, <p>, <ul>, <dl> and <pre>, and without the hard line breaks. This is
no parser of reStructuredText: directives are left out, and a block that is not recognised becomes a paragraph. That is
enough, because the sample needs pages that look like documentation on the web, not faithful ones.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

_UNDERLINE = re.compile(r"([=\-~*^\"'])\1{2,}\s*")
_BULLET = re.compile(r"(?:[-*•]|\(?\d{1,2}[.)])\s+(?=\S)")
_FIELD = re.compile(r":(?:param|type|arg|raises?|returns?|rtype|ivar|keyword)\b\s*([^:]*):\s*(.*)")
_SECTION = re.compile(r"(?:Args|Arguments|Parameters|Returns|Raises|Yields|Attributes|Examples?|Notes?):")
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_ROLE = re.compile(r":[a-z:]+:`~?([^`]+)`")


def render(text: str) -> str:
    """HTML of a docstring's `text`."""
    return "\n".join(_blocks(text.expandtabs().splitlines()))


def prose(text: str) -> list[str]:
    """The paragraphs of a docstring that read as prose: sentences of words, not code, formulas or parameter lists."""
    paragraphs = (html.unescape(re.sub(r"<[^>]+>", "", html_text)) for html_text in _PARAGRAPH.findall(render(text)))
    return [paragraph for paragraph in paragraphs if _is_prose(paragraph)]


def _is_prose(paragraph: str) -> bool:
    if not paragraph.rstrip().endswith((".", "!", "?")) or set("{}<>\\") & set(paragraph) or ":param" in paragraph:
        return False
    tokens = re.findall(r"\w+|[^\w\s]+", paragraph)
    return len(paragraph.split()) >= 12 and sum(token.isalpha() for token in tokens) >= 0.82 * len(tokens)


def inline(text: str) -> str:
    """HTML of a run of words: code, emphasis and links to objects marked up, everything else escaped."""
    escaped = html.escape(_ROLE.sub(r"``\1``", text), quote=False)
    escaped = re.sub(r"``(.+?)``", r"<code>\1</code>", escaped)
    escaped = re.sub(r"`([^`<>]+)`_?", r"<code>\1</code>", escaped)
    escaped = re.sub(r"\*\*(\w[^*<>]*)\*\*", r"<strong>\1</strong>", escaped)
    escaped = re.sub(r"(?<![\w*])\*(\w[^*<>]*)\*(?![\w*])", r"<em>\1</em>", escaped)
    return re.sub(r"\[(\w+)\]_", r"[\1]", escaped)


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    """The HTML blocks of `lines`, one after another."""
    lines = _dedented(lines)
    row, literal = 0, False  # literal: the paragraph before ended with `::`
    while row < len(lines):
        line = lines[row]
        if not line.strip():
            row += 1
            continue
        end = _end_of_block(lines, row)
        block = lines[row:end]
        if line[0] == " ":
            end = _end_of_indented(lines, row)
            yield _preformatted(lines[row:end]) if literal else "\n".join(_blocks(lines[row:end]))
            literal = False
        elif len(block) > 1 and _UNDERLINE.fullmatch(block[1]):
            yield f"<h3>{inline(line.strip())}</h3>"
            end = row + 2
        elif _UNDERLINE.fullmatch(line):  # the line above a title, or a horizontal line
            end = row + 1
        elif _SECTION.fullmatch(line.rstrip()):
            yield f"<h3>{line.strip()[:-1]}</h3>"
            end = row + 1
        elif line.startswith(".. "):
            end = _end_of_indented(lines, row + 1)
        elif line.startswith(">>>"):
            yield _preformatted(block)
        elif _BULLET.match(line):
            end = _end_of_list(lines, row)
            yield _bullets(lines[row:end])
        elif _FIELD.match(line):
            yield _fields(block)
        elif len(block) > 1 and block[1].startswith("  "):
            end = _end_of_indented(lines, row + 1)
            body = "\n".join(_blocks(lines[row + 1 : end]))
            yield f"<dl><dt>{inline(line.strip())}</dt>\n<dd>{body}</dd></dl>"
        else:
            cut = next((n for n in range(1, len(block)) if _BULLET.match(block[n])), len(block))
            end = row + cut
            words = " ".join(part.strip() for part in block[:cut])
            literal = words.endswith("::")
            yield f"<p>{inline(words[:-1] if literal else words)}</p>"
        row = max(end, row + 1)


def _dedented(lines: Sequence[str]) -> list[str]:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[margin:] for line in lines]


def _end_of_block(lines: Sequence[str], row: int) -> int:
    while row < len(lines) and lines[row].strip():
        row += 1
    return row


def _end_of_indented(lines: Sequence[str], row: int) -> int:
    """The row of the next line at the left margin."""
    while row < len(lines) and (not lines[row].strip() or lines[row][0] == " "):
        row += 1
    return row


def _end_of_list(lines: Sequence[str], row: int) -> int:
    """The row after the last item: the next line at the left margin that is no bullet and follows a blank line."""
    for end in range(row + 1, len(lines)):
        line = lines[end]
        at_margin = bool(line.strip()) and line[0] != " "
        if at_margin and not _BULLET.match(line) and not lines[end - 1].strip():
            return end
    return len(lines)


def _preformatted(lines: Sequence[str]) -> str:
    body = "\n".join(_dedented(lines)).strip("\n")
    return f"<pre>{html.escape(body, quote=False)}</pre>"


def _bullets(lines: Sequence[str]) -> str:
    items: list[list[str]] = []
    for line in lines:
        mark = _BULLET.match(line)
        if mark:
            items.append([line[mark.end() :]])
        elif line.strip():
            items[-1].append(line.strip())
    return "<ul>\n" + "\n".join(f"<li>{inline(' '.join(item))}</li>" for item in items) + "\n</ul>"


def _fields(lines: Sequence[str]) -> str:
    rows: list[tuple[str, list[str]]] = []
    for line in lines:
        field = _FIELD.match(line)
        if field:
            rows.append((field[1].strip() or line[1:].split(":")[0], [field[2]]))
        else:
            rows[-1][1].append(line.strip())
    items = (f"<dt>{inline(name)}</dt>\n<dd><p>{inline(' '.join(words))}</p></dd>" for name, words in rows)
    return "<dl>" + "\n".join(items) + "</dl>"
