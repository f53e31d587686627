"""How tokenizers cut one text, as a web page: tokens in colour, a column a tokenizer, a card for the token in hand.

In go a vocabulary and the ids of the text for each column, out comes one HTML file that needs nothing else: no
network, no library. The card (mouse, touch or arrow keys) shows id, bytes, rank and the two tokens that were merged
into this one. A token's facts are written once and its places refer to them, so that 100 kB of text stay a light page.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

from bpe.colours import pieces, visible
from bpe.vocabulary import Vocabulary

Origin = tuple[int | None, tuple[int, int] | None]  # rank, and the ids that were merged


class Column(NamedTuple):
    """What one tokenizer made of the text."""

    name: str
    vocabulary: Vocabulary
    ids: Sequence[int]


def page(columns: Sequence[Column]) -> str:
    """The page, as UTF-8 text. Raises ValueError for an id that its vocabulary does not have."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(' · '.join(column.name for column in columns))}</title>",
        f"<style>{_STYLE}</style>\n</head>\n<body>",
        '<p class="quiet">Point at a token, touch it, or press Tab and the arrow keys. &#x21B5; &#x2192; line break '
        "and tab &nbsp; <s>\\xE4</s> a byte of a character that is cut &nbsp; <s>\\u200d</s> a character without a "
        "shape &nbsp; <s>&#x25CC;</s> an accent whose letter is another token</p>",
        '<main id="columns">',
        *map(_column, columns),
        '</main>\n<div id="card" role="status" hidden></div>',
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def origins(vocabulary: Vocabulary) -> Callable[[int], Origin]:
    """A function from a token's id to its rank and the two ids that merge into it.

    The rank is the merge's place in the vocabulary's list of merges, or the id where there is no such list. A byte
    and a token that no merge makes have no parents (nor a rank in a list), a special token has neither.
    """
    if vocabulary.merges is not None:
        listed: dict[bytes, Origin] = {}
        for rank, (left, right) in enumerate(vocabulary.merges):
            made = vocabulary.tokens[left] + vocabulary.tokens[right]
            listed.setdefault(made, (rank, (left, right)))  # the first that is listed goes first
        return lambda token_id: listed.get(_ordinary(vocabulary, token_id), (None, None))

    ids = {token: token_id for token_id, token in enumerate(vocabulary.tokens) if token}

    def origin(token_id: int) -> Origin:
        token = _ordinary(vocabulary, token_id)
        return (token_id, _merged_from(token, ids)) if token else (None, None)

    return origin


def _ordinary(vocabulary: Vocabulary, token_id: int) -> bytes:
    """The bytes of an ordinary token, b"" for a special one."""
    return vocabulary.tokens[token_id] if token_id < len(vocabulary.tokens) else b""


def _merged_from(token: bytes, ids: dict[bytes, int]) -> tuple[int, int] | None:
    """The last merge on the way from the bytes of a token to the token, if there is such a way."""
    parts = [token[i : i + 1] for i in range(len(token))]
    own = ids[token]
    while len(parts) > 2:
        ranks = [ids.get(left + right, own) for left, right in itertools.pairwise(parts)]
        lowest = min(ranks)
        if lowest >= own:
            return None
        place = ranks.index(lowest)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return (ids[parts[0]], ids[parts[1]]) if len(parts) == 2 else None


def _column(column: Column) -> str:
    vocabulary, ids = column.vocabulary, column.ids
    times = Counter(ids)
    number = {token_id: i for i, token_id in enumerate(times)}
    size = sum(count * len(vocabulary.token_bytes(token_id)) for token_id, count in times.items())
    spans = {token_id: _span(vocabulary.token_bytes(token_id), i) for token_id, i in number.items()}
    facts = json.dumps([*_facts(vocabulary, times)], ensure_ascii=True, separators=(",", ":"))
    facts = facts.replace("<", "\\u003c")  # so that no text can end the script element
    figures = [
        f"<b>{len(ids):,}</b> tokens",
        f"<b>{size / len(ids) if ids else 0:.2f}</b> bytes a token",
        f"<b>{len(times):,}</b> different",
        f"of {vocabulary.size:,} ids",
    ]
    spaced = "".join(f"<span>{figure}</span>" for figure in figures)
    return (
        f"<section>\n<header><h2>{escape(column.name)}</h2><p>{spaced}</p></header>\n"
        # The parser drops a line break right after <pre>: this one, and so none of the text's.
        f'<pre tabindex="0" dir="auto" aria-label="tokens of {escape(column.name)}">\n'
        f"{''.join(map(spans.__getitem__, ids))}</pre>\n"
        f'<script type="application/json">{facts}</script>\n</section>'
    )


def _span(token: bytes, number: int) -> str:
    shown = (f"<s>{escape(text)}</s>" if is_mark else escape(text) for text, is_mark in pieces(token))
    return f"<i data-n={number}>{''.join(shown)}</i>"


def _facts(vocabulary: Vocabulary, times: Counter[int]) -> Iterator[list[Any]]:
    """For each token [shown, id, rank, bytes in hexadecimal, bytes as Python writes them, parents shown, times]."""
    origin = origins(vocabulary)
    for token_id, count in times.items():
        token = vocabulary.token_bytes(token_id)
        rank, merged = origin(token_id)
        parents = [[visible(vocabulary.token_bytes(parent)), parent] for parent in merged or ()]
        yield [visible(token), token_id, rank, token.hex(" "), repr(token), parents, count]


_STYLE = """
:root {
  color-scheme: light dark;
  --page: #fbfbf9; --panel: #fff; --ink: #1d2329; --quiet: #5b6670; --line: #dfe3e6; --focus: #2f6f9f;
  --a: #cfe3f7; --b: #fbe3c4; --c: #cdeed9; --d: #f9d3d6; --e: #f5efb8; --f: #e2d6f5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181c; --panel: #1b2126; --ink: #e9edf0; --quiet: #9aa6af; --line: #38424a; --focus: #7db9e8;
    --a: #24486b; --b: #664619; --c: #1f5437; --d: #6b2f35; --e: #55510f; --f: #4a3a70;
  }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 1.25rem; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h2 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
p { margin: 0 0 1rem; }
header p { margin: .1rem 0 .6rem; color: var(--quiet); font-variant-numeric: tabular-nums; }
header span { display: inline-block; margin-right: .9rem; }
header b { color: var(--ink); }
.quiet { color: var(--quiet); font-size: .85rem; }
#columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
section { min-width: 0; }
pre, #card code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre {
  margin: 0; padding: .9rem 1rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--panel);
  font-size: 14px; line-height: 1.75; white-space: break-spaces; overflow-wrap: anywhere; tab-size: 4;
  font-variant-ligatures: none;
}
pre:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; }
i { font-style: normal; padding: .14em 0; border-radius: .15em; cursor: default; }
i:nth-child(6n+1) { background: var(--a); }
i:nth-child(6n+2) { background: var(--b); }
i:nth-child(6n+3) { background: var(--c); }
i:nth-child(6n+4) { background: var(--d); }
i:nth-child(6n+5) { background: var(--e); }
i:nth-child(6n) { background: var(--f); }
i.same { box-shadow: inset 0 -2px var(--ink); }
i.here { outline: 2px solid var(--ink); }
s { text-decoration: none; color: var(--quiet); }
i s { color: inherit; opacity: .62; }
#card {
  position: fixed; z-index: 1; max-width: min(30rem, 92vw); padding: .6rem .8rem; border: 1px solid var(--line);
  border-radius: .5rem; background: var(--panel); box-shadow: 0 4px 18px #0004; pointer-events: none; font-size: .85rem;
}
#card dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem .8rem; margin: 0; }
#card dt { color: var(--quiet); }
#card dd { margin: 0; min-width: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
#card code { font-size: .95em; }
#card .shown { background: var(--a); border-radius: .15em; padding: .1em 0; }
"""

_SCRIPT = """
"use strict";
const card = document.getElementById("card");
const facts = new Map();  // of a column's <pre>, parsed when first needed
let here = null;

function show(token) {
  if (here === token) return;
  for (const old of document.querySelectorAll("i.same, i.here")) old.classList.remove("same", "here");
  here = token;
  card.hidden = !token;
  if (!token) return;
  const column = token.parentElement;
  if (!facts.has(column)) facts.set(column, JSON.parse(column.nextElementSibling.textContent));
  const [shown, id, rank, hex, escaped, parents, times] = facts.get(column)[token.dataset.n];
  for (const twin of column.querySelectorAll(`i[data-n="${token.dataset.n}"]`)) twin.classList.add("same");
  token.classList.add("here");
  const list = document.createElement("dl");
  const line = (name, ...values) => {
    list.append(Object.assign(document.createElement("dt"), {textContent: name}));
    const value = document.createElement("dd");
    value.append(...values);
    list.append(value);
  };
  const code = (text, kind = "") => Object.assign(document.createElement("code"), {textContent: text, className: kind});
  line("token", code(shown, "shown"));
  line("id", code(id));
  line("bytes", code(hex));
  line("", code(escaped));
  line("rank", rank === null ? "none" : code(rank));
  if (parents.length) {
    const [[left, leftId], [right, rightId]] = parents;
    line("made of", code(left, "shown"), ` ${leftId}  +  `, code(right, "shown"), ` ${rightId}`);
  }
  line("here", times === 1 ? "once" : `${times} times`);
  card.replaceChildren(list);
  place(token);
}

function place(token) {
  const lines = token.getClientRects();
  const box = lines[lines.length - 1];
  const below = box.bottom + 8 + card.offsetHeight <= innerHeight;
  card.style.left = `${Math.max(8, Math.min(box.left, innerWidth - card.offsetWidth - 8))}px`;
  card.style.top = `${below ? box.bottom + 8 : Math.max(8, lines[0].top - card.offsetHeight - 8)}px`;
}

const tokenAt = (event) => event.target.closest ? event.target.closest("pre > i") : null;
document.addEventListener("mouseover", (event) => show(tokenAt(event)));
document.addEventListener("click", (event) => show(tokenAt(event)));
document.addEventListener("focusin", (event) => {
  if (event.target.matches("pre:focus-visible")) show(event.target.firstElementChild);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return show(null);
  const column = document.activeElement;
  const step = {ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling"}[event.key];
  if (!step || column.tagName !== "PRE") return;
  const token = here && here.parentElement === column ? here[step] : column.firstElementChild;
  if (!token) return;
  event.preventDefault();
  token.scrollIntoView({block: "nearest"});
  show(token);
});
document.addEventListener("scroll", () => { if (here) place(here); }, {passive: true});
"""
