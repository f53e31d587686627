"""PAGES -> PAGES that may be in the wanted languages: a cheap look at the text, before extraction is paid for.

Extraction is nine tenths of what a page costs, and most pages are dropped behind it for their language alone. So the
long lines of a page's text are read from its bytes (corpus.language.kernels.page_text), up to some 2,000
characters, and lid.176 says how probable the wanted languages are. Only where they are hardly possible is the page
dropped: the verdict stays that of the stage `language`, on the extracted text. A page with too little text to judge
goes on.

What this costs in documents is measured as it runs: a share of the pages that would be dropped, chosen by a hash of
their ids, goes on as well, and how many of them are kept in the end is known by `prescreen_score`. The answer depends
on the page and the settings alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from html.entities import name2codepoint
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.config import setting
from corpus.language.lid import find_model, load_model, probability
from corpus.schema import Drop, Outcome, outcome
from corpus.stage import Stage
from corpus.store.files import sha256
from corpus.text.charset import decode_html

NAME = "prescreen"
SCORE = "prescreen_score"
SCORE_FIELD = pa.field(SCORE, pa.float64())  # null where nothing was judged
MOST_LANGUAGES = 5  # of more, hardly a page can be ruled out

# Elements that do not break a line (HTML standard, "phrasing content"), and those whose content is not text of the
# page: scripts, other documents, drawings, the title, what is for browsers without scripts.
_INLINE = (
    *("a", "abbr", "acronym", "b", "basefont", "bdi", "bdo", "big", "blink", "cite", "code", "data", "del", "dfn"),
    *("em", "font", "i", "img", "ins", "kbd", "label", "mark", "meter", "nobr", "output", "q", "rb", "rp", "rt"),
    *("ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"),
)
_SKIPPED = (
    *("script", "style", "noscript", "template", "title", "textarea", "iframe", "noembed", "noframes", "xmp"),
    *("select", "object", "canvas", "audio", "video"),
)
_FOREIGN = ("svg", "math")  # which alone can end in />


@dataclass(frozen=True)
class Config:
    enabled: bool = setting(
        True, "look at a page's language before its text is extracted, if 1 to 5 are wanted", flag="--prescreen"
    )
    threshold: float = setting(
        0.1,
        "drop a page if all wanted languages together are less probable than this",
        low=0,
        high=1,
        flag="--prescreen-threshold",
    )
    sample: float = setting(
        0.01,
        "share of the pages so dropped that goes on all the same, to estimate what is lost",
        low=0,
        high=1,
        flag="--prescreen-sample",
    )
    line_chars: int = setting(
        60, "shortest line to look at, in characters", low=1, high=10_000, flag="--prescreen-line-chars"
    )
    max_chars: int = setting(
        2000, "characters of a page to look at", low=100, high=1_000_000, flag="--prescreen-max-chars"
    )
    min_chars: int = setting(200, "pages with less to look at are not judged", low=1, flag="--prescreen-min-chars")
    languages: tuple[str, ...] = setting((), "those of [language]", of="language")
    model: str | None = setting(None, "that of [language]", of="language", path=True)


def is_idle(config: Config) -> bool:
    """Whether the settings leave nothing to do: it is switched off, or all or too many languages are wanted."""
    return not config.enabled or not 1 <= len(config.languages) <= MOST_LANGUAGES


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a PAGES batch by what its languages may be; kept rows get `prescreen_score`, a probability.

    Counted are the pages that only the sample let through.
    """
    model = load_model(find_model(config.model))
    scores: list[float | None] = []
    drops: dict[int, Drop] = {}
    pages = zip(*(batch.column(name) for name in ("html", "charset", "id", "media")), strict=True)
    for row, (html, charset, identifier, media) in enumerate(pages):
        # Of text that was extracted before there is nothing to spare.
        plain = media.as_py() == "text/plain"
        text = "" if plain else snippet(html.as_buffer() or b"", charset.as_py(), config)
        score = probability(text, config.languages, model) if len(text) >= config.min_chars else None
        if score is not None and score < config.threshold and not is_sampled(identifier.as_py() or "", config.sample):
            drops[row] = Drop(f"{NAME}.language", score, config.threshold)
        scores.append(score)
    split = outcome(batch.append_column(SCORE_FIELD, pa.array(scores, pa.float64())), NAME, drops)
    return split._replace(sums={"sampled": under_threshold(split.kept, config)})


def under_threshold(batch: pa.RecordBatch, config: Config) -> int:
    """How many rows would not be there but for the sample."""
    return pc.sum(pc.less(batch.column(SCORE), config.threshold)).as_py() or 0


def resources(config: Config) -> dict[str, str]:
    """What decides the answers besides the settings: the content of a model that they do not name."""
    return {} if config.model else {"model": sha256(find_model(None))}


def is_sampled(identifier: str, share: float) -> bool:
    """Whether a page is in the sample: by its id, the same at all times and places."""
    digest = hashlib.blake2b(identifier.encode("utf-8", "replace"), digest_size=8, person=b"prescreen").digest()
    return int.from_bytes(digest, "big") < share * 2**64


def snippet(html: bytes | pa.Buffer, charset: str | None, config: Config) -> str:
    """The first `max_chars` characters of a page's text in lines of at least `line_chars`, a newline behind each.

    `charset` is the HTTP header's, None if it names none. A page in another encoding than UTF-8 is decoded as a whole.
    """
    page = np.frombuffer(html, np.uint8)  # of the Arrow buffer itself: pages are 150 kB
    if page[:2].tobytes() not in (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<"):  # UTF-16
        lines = _long_lines(page, config)
        # ESC and ~{ begin what is not ASCII in encodings that look like it.
        if b"\x1b" not in lines and b"~{" not in lines:
            try:
                return lines.decode()
            except UnicodeDecodeError:
                pass
    whole = decode_html(page.tobytes(), charset).encode("utf-8", "replace")
    return _long_lines(np.frombuffer(whole, np.uint8), config).decode("utf-8", "replace")


def _long_lines(page: np.ndarray[Any, Any], config: Config) -> bytes:
    """The kernel's answer for the bytes of a page in UTF-8."""
    from corpus.language.kernels.page_text import long_lines

    tags, entities = (table.ctypes.data for table in tables())
    room = np.empty(4 * (config.max_chars + config.line_chars) + 16, np.uint8)
    begin, out = page.ctypes.data, room.ctypes.data
    end, out_end = begin + page.size, out + room.size
    size = long_lines(begin, end, tags, entities, out, out_end, config.line_chars, config.max_chars)
    return room[:size].tobytes()


@cache
def tables() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(kinds of tags, characters plus one of named references that HTML 4 has), as the kernel reads them."""
    from corpus.language.kernels.page_text import BODY, FOREIGN, INLINE, SKIPPED, table

    kinds = {INLINE: _INLINE, SKIPPED: _SKIPPED, FOREIGN: _FOREIGN, BODY: ("body",)}
    entities = [(name, code + 1) for name, code in name2codepoint.items() if len(name) <= 8]
    return table((name, kind) for kind, names in kinds.items() for name in names), table([*entities, ("apos", 40)])


STAGE = Stage(
    NAME,
    Config,
    process,
    command="extract",
    reads="pages",
    alone=True,
    libraries=("fasttext", "charset-normalizer"),
    columns=lambda config: (SCORE_FIELD,),
    resources=resources,
    is_idle=is_idle,
    count_kept=lambda batch, config: {"sampled_kept": under_threshold(batch, config)},
)
