"""Trafilatura's own text in a fraction of its time.

In: the decoded HTML of a page, and what to favour. Out: the string that `trafilatura.extract` of version 2.3.1 gives,
byte for byte, or the exception that it raises. Four things are different on the way there (docstrings have the rest):

- `xpath` and `grammar`: the expressions that find boilerplate, whose patterns call back into Python, are translated
  and their answers remembered by class and id;
- `cleaning`: passes over the tree that cannot find anything, or find the same again, are left out;
- `sequence`: no copy of the tree and no second opinion is made whose result cannot matter;
- `engine`: lxml makes elements of one class instead of asking lxml.html which.

`private` loads a copy of the installed trafilatura for this, so that `import trafilatura` stays what it was. It is
bound to that version's sources; `available` says why not, for any other.
"""

from __future__ import annotations

from corpus.extract.trafilatura_fast import private


def available() -> str | None:
    """None if the fast path can be taken with the installed trafilatura, else one line that says why it cannot."""
    try:
        private.load()
    except private.Unknown as reason:
        return str(reason)
    return None


def main_text(html: str, focus: str, tables: bool, comments: bool, remembered: int) -> str | None:
    """The main text of a page as trafilatura 2.3.1 has it, None if there is none; see `engine.main_text`."""
    from corpus.extract.trafilatura_fast import engine

    return engine.main_text(html, focus, tables, comments, remembered)
