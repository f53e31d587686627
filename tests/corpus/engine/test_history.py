"""What follows from what happened to a unit: another attempt, a quarantined row, or failure."""

from __future__ import annotations

import pytest

from corpus.engine.base import Event, Failure, Limits, Quarantine, Unit
from corpus.engine.history import History, Ledger
from corpus.engine.local import LocalEngine
from corpus.engine.start import ENGINES, start_engine

CRASH = Quarantine("stage", "crash", "SIGSEGV")


def ledger(limits: Limits, units: int = 2) -> tuple[Ledger, list[Event]]:
    events: list[Event] = []
    return Ledger([Unit(f"u{number}", ()) for number in range(units)], limits, events.append), events


def keys(book: Ledger) -> list[str]:
    return [history.unit.key for history in book.waiting]


def test_a_failed_unit_waits_behind_the_others_until_its_attempts_are_used_up() -> None:
    book, events = ledger(Limits(attempts=2))
    unit = book.waiting.popleft()
    book.failed(unit, "no network")
    assert keys(book) == ["u1", "u0"]
    book.waiting.pop()
    book.failed(unit, "no network", "trace")
    assert keys(book) == ["u1"]
    assert book.failures == [Failure("u0", "no network")]
    assert [(event.kind, event.unit, event.trace) for event in events] == [
        ("retry", "u0", ""),
        ("failed", "u0", "trace"),
    ]


def test_a_row_is_quarantined_by_its_second_strike() -> None:
    book, events = ledger(Limits())
    unit = book.waiting.popleft()
    book.lost_rows(unit, 4, 3, CRASH, "")  # one of three rows
    assert (unit.careful, unit.quarantine, keys(book)) == (True, {}, ["u0", "u1"])
    for quarantined in ({}, {5: CRASH}):
        book.waiting.popleft()
        book.lost_rows(unit, 5, 1, CRASH, "trace")
        assert unit.quarantine == quarantined
    assert [(event.kind, event.row, event.detail) for event in events] == [
        ("retry", 5, "row 5: crash in stage (SIGSEGV)"),
        ("quarantine", 5, "row 5: crash in stage (SIGSEGV)"),
    ]


def test_a_unit_with_too_many_bad_rows_fails() -> None:
    book, _ = ledger(Limits(quarantines=3, strikes=1), units=1)
    unit = book.waiting.popleft()
    for row in range(4):
        book.lost_rows(unit, row, 1, CRASH, "")
    assert book.failures == [Failure("u0", "more than 3 of its rows hang or crash")]


@pytest.mark.parametrize(("nodes", "attempts"), [(["a", "b", "c"], 3), (["a"] * 9, 3), (["a", "b"] * 5, 5)])
def test_a_unit_fails_that_is_lost_with_many_nodes(nodes: list[str], attempts: int) -> None:
    book, events = ledger(Limits(attempts=attempts), units=1)
    unit = History(Unit("u0", ()))
    for node in nodes:
        assert book.failures == []
        book.lost_node(unit, node, "silent")
    assert len(book.failures) == (len(set(nodes)) >= attempts or len(nodes) >= 3 * attempts)
    assert len(events) == len(nodes)


def test_engines_by_name() -> None:
    with start_engine("local", None, Limits()) as engine:
        assert isinstance(engine, LocalEngine)
        assert engine.width >= 1
    with start_engine("local", 3, Limits()) as engine:
        assert isinstance(engine, LocalEngine)
        assert engine.width == 3
    with pytest.raises(ValueError, match=f"engine 'spark': .* choose one of {', '.join(ENGINES)}"):
        start_engine("spark", None, Limits())
