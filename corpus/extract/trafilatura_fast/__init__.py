"""Trafilatura's own text in half of its time.

In: the decoded HTML of a page, and the settings. Out: the text that `trafilatura.extract` of version 2.3.1 gives, byte
for byte, or the exception that it raises. One setting makes a difference on purpose: without `count_retries`, the
counts of repeated segments begin at zero in each pass over the page.

Four things make it faster; each module explains its own:

- `xpath` and `grammar`: trafilatura finds boilerplate by XPath expressions that call back into Python. They are
  translated into Python, and their answers are remembered by class and id.
- `cleaning`: passes over the tree that cannot find anything are left out.
- `sequence`: copies of the tree, and second opinions, are made only where they can change the text.
- `engine`: lxml makes all elements of one class, and does not call lxml.html to choose one.

`private` loads a second copy of the installed trafilatura, in which parts are replaced; `import trafilatura` stays as
it was. The replacements are made for the sources of version 2.3.1. `available` says what is different where another
trafilatura is installed.
"""

from __future__ import annotations

from corpus.extract.trafilatura_fast import private


def available() -> str | None:
    """None if the fast path knows the installed trafilatura, else one line that says what is different about it."""
    try:
        private.load()
    except private.Unknown as reason:
        return str(reason)
    return None


def main_text(html: str, focus: str, tables: bool, comments: bool, remembered: int, count_retries: bool) -> str | None:
    """The main text of a page, as trafilatura 2.3.1 finds it; `engine.main_text` explains the parameters."""
    from corpus.extract.trafilatura_fast import engine

    return engine.main_text(html, focus, tables, comments, remembered, count_retries)
