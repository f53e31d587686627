"""What rules are made of: a value against a limit. One that is "off" in a recipe is None here, and nothing fails it."""

from __future__ import annotations

from corpus.schema import Drop


def above(rule: str, value: float, limit: float | None) -> Drop | None:
    """The drop of a value above its limit."""
    return Drop(rule, value, limit) if limit is not None and value > limit else None


def below(rule: str, value: float, limit: float | None) -> Drop | None:
    """The drop of a value below its limit."""
    return Drop(rule, value, limit) if limit is not None and value < limit else None
