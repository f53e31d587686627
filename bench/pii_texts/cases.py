"""A sentence with one piece of personal data at a known place."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """`text[start:end]` is the value, of type `kind`; `group` says which part of the set this is."""

    text: str
    start: int
    end: int
    kind: str
    group: str

    @property
    def value(self) -> str:
        return self.text[self.start : self.end]


def case(sentence: str, value: str, kind: str, group: str) -> Case:
    """The sentence with `value` in the place of `{}`."""
    start = sentence.index("{}")
    return Case(sentence.replace("{}", value), start, start + len(value), kind, group)
