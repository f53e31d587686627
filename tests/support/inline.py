"""An engine without processes: runs the units of a pass one after the other, where it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Self

from corpus.engine.base import Engine, Event, Failure, Limits, Unit, Work
from corpus.run.execute import run_pass
from corpus.run.plan import Pass
from tests.support.works import NotingAttempt


class Inline(Engine):
    @classmethod
    def started(cls, workers: int | None, limits: Limits) -> Self:
        return cls()

    def run(self, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]) -> list[Failure]:
        for unit in units:
            work.run(unit, NotingAttempt())
        return []

    def close(self) -> None:
        pass


def run_inline(plans: Iterable[Pass]) -> None:
    """Run passes one after the other in this process."""
    for plan in plans:
        run_pass(plan, Inline(), lambda event: None)
