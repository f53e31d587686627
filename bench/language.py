"""`python -m bench.language`: the pre-screen of languages beside HTML parsers, and the extraction that it avoids.

- `screen`: the stage, one page at a time, from bytes to a verdict. The peers make the whole text with lxml (and
  resiliparse and selectolax, if they are installed), take its long lines, and ask lid.176 for all labels, as datatrove
  does. The verdicts must agree on 95% of the pages, or the run fails.
- `text`: the text alone, without language ID.
- `extract`: pages a second of the pre-screen, beside the extraction that dropped pages do not need.

Times are processor time. Half of the pre-screen's time is fastText waiting for memory, which other programs make
longer.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from bench.extract import read_pages
from bench.harness import median_seconds, print_json, print_row, ratios
from corpus.extract import stage as extract
from corpus.language import prescreen
from corpus.language.models.lid176 import find, load
from corpus.schema import PAGES
from corpus.text.charset import decode_html

PAGE_LIMIT = 160
CONFIG = prescreen.Config(languages=("en",), sample=0.0)
Reader = Callable[[bytes], str]


def main() -> None:
    bodies = [page.html for page in read_pages()[:PAGE_LIMIT]]
    model = load(find(None)).binding
    rows = [{"html": body, "charset": None, "id": str(number)} for number, body in enumerate(bodies)]
    batch = pa.RecordBatch.from_pylist(rows, schema=PAGES)
    alone = [batch.slice(row, 1) for row in range(batch.num_rows)]

    def rate(work: Callable[[], Any], repeats: int) -> float:
        return len(bodies) / median_seconds(work, repeats, 0, time.process_time)

    verdicts = [prescreen.process(page, CONFIG).kept.num_rows == 1 for page in alone]
    dropped = 1 - sum(verdicts) / len(verdicts)
    print(f"{len(bodies)} pages of {sum(map(len, bodies)) / len(bodies) / 1000:.0f} kB, {dropped:.1%} dropped")
    screen = {"ours": rate(lambda: [prescreen.process(page, CONFIG) for page in alone], 5)}
    text = {"ours": rate(lambda: [prescreen.snippet(body, None, CONFIG) for body in bodies], 9)}
    for name, read in readers().items():
        theirs = [may_be_english(long_lines(read(body)), model) for body in bodies]
        same = sum(one == other for one, other in zip(verdicts, theirs, strict=True)) / len(bodies)
        print(f"{name}: the same verdict on {same:.1%} of the pages")
        if same < 0.95:
            sys.exit(f"{name}: another verdict on more than 5 % of the pages")
        screen[name] = rate(lambda read=read: [may_be_english(long_lines(read(body)), model) for body in bodies], 2)
        text[name] = rate(lambda read=read: [long_lines(read(body)) for body in bodies], 2)
    full = {"ours": screen["ours"], "trafilatura": rate(lambda: extract.process(batch, extract.Config()), 1)}
    compared: dict[str, float] = {}
    figures = {"screen": screen, "text": text, "extract": full}
    for name, found in figures.items():
        peers = {peer: value for peer, value in found.items() if peer != "ours"}
        print_row(name, "pages/s", found["ours"], peers, True)
        compared |= {f"{name}.{peer}": ratio for peer, ratio in ratios(found["ours"], peers, True).items()}
    if "--json" in sys.argv:
        ours = {name: found.pop("ours") for name, found in figures.items()}
        print_json("language", compared, ours, figures)


def readers() -> dict[str, Reader]:
    """Functions from the bytes of a page to its text, one line for each block: of every parser that is installed."""
    optional = {"resiliparse": by_resiliparse, "selectolax": by_selectolax}
    return {"lxml": by_lxml} | {name: read for name, read in optional.items() if importlib.util.find_spec(name)}


def by_lxml(body: bytes) -> str:
    from lxml import html

    tree = html.document_fromstring(decode_html(body, None).encode(), parser=html.HTMLParser(encoding="utf-8"))
    for element in tree.iter("script", "style", "noscript", "template", "title", "svg"):
        element.text = None
        for child in list(element):
            element.remove(child)
    for element in tree.iter("p", "div", "li", "br", "td", "h1", "h2", "h3", "h4", "section", "article", "tr"):
        element.tail = "\n" + (element.tail or "")
        element.text = "\n" + " ".join((element.text or "").split("\n"))
    return str(tree.text_content())


def by_resiliparse(body: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(decode_html(body, None), preserve_formatting=True, main_content=False))


def by_selectolax(body: bytes) -> str:
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(decode_html(body, None))
    tree.strip_tags(["script", "style", "noscript", "template", "svg"])
    tree.unwrap_tags(["a", "b", "i", "em", "strong", "span", "font", "sup", "sub", "u", "abbr", "time", "code"])
    tree.merge_text_nodes()
    return str(tree.body.text(separator="\n")) if tree.body else ""


def long_lines(text: str) -> str:
    """The first long lines, up to the number of characters that the stage looks at."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    first, size = [], 0
    for line in lines:
        if len(line) >= CONFIG.line_chars:
            first.append(line[: CONFIG.max_chars - size])
            size += len(first[-1])
            if size >= CONFIG.max_chars:
                break
    return " ".join(first)


def may_be_english(text: str, model: Any) -> bool:
    """Every label with its probability, as datatrove's LanguageFilter asks; too little text is not judged."""
    scores = {label: score for score, label in model.predict(text + "\n", -1, 0.0, "strict")}
    return len(text) < CONFIG.min_chars or scores.get("__label__en", 0.0) >= CONFIG.threshold


if __name__ == "__main__":
    main()
