"""What is planned: a pass, the units that it has, and what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from corpus.engine.base import Unit, Work
from corpus.store.records import Conflict, Input
from corpus.store.shards import Dataset

_POLL = 2.0  # seconds between looks at what other tasks have committed


class Waiting(Exception):
    """What comes next needs what other tasks have not committed yet."""


@dataclass(frozen=True)
class Share:
    """Task `index` of `count`, from 1: it does every count-th unit. `wait`: seconds to wait for the others."""

    index: int = 1
    count: int = 1
    wait: float = 0.0

    def of(self, keys: Sequence[str]) -> Sequence[str]:
        return keys[self.index - 1 :: self.count]


ALONE = Share()


@dataclass(frozen=True)
class Source:
    """Where a pass reads: WARC files, or the documents that a dataset has committed."""

    warcs: tuple[str, ...] = ()
    dataset: str | None = None


@dataclass
class Pass:
    """One pass, ready to run: `work(config_hash)` is what the engine is given.

    `keys` are all its units, sorted; `units(keys)` those of them whose inputs are there.
    """

    name: str
    output: str
    keys: Sequence[str]
    units: Callable[[Sequence[str]], list[Unit]]
    config: dict[str, Any]
    work: Callable[[str], Work]


def global_pass(
    name: str, output: str, keys: Sequence[str], whole: Input, config: dict[str, Any], work: Callable[[str], Work]
) -> Pass:
    """Units that read the whole of a dataset each."""
    return Pass(name, output, keys, lambda mine: [Unit(key, (whole,)) for key in mine], config, work)


def document_units(dataset: str) -> Callable[[Sequence[str]], list[Unit]]:
    """Units that read a shard of documents each."""

    def units(keys: Sequence[str]) -> list[Unit]:
        wanted, folder = set(keys), dataset.rstrip("/")  # two slashes are another key, to an object store
        return [
            Unit(record.unit, (Input(f"{folder}/{output.path}", output.bytes, output.sha256),))
            for record in Dataset(dataset).scan()
            if record.unit in wanted and (output := record.output("documents"))
        ]

    return units


def check_no_others(dataset: str, keys: Sequence[str]) -> None:
    """What reads a dataset as a whole must not find units of another input, or of another cut of the same.

    Raises Conflict naming the first of them.
    """
    planned = set(keys)
    if other := next((unit for unit in Dataset(dataset).units() if unit not in planned), None):
        raise Conflict(
            f"{dataset}: holds unit {other}, which is none of this call's; "
            "name all inputs, or use another output folder"
        )


def with_no_others(plans: Iterable[Pass]) -> Iterator[Pass]:
    """The passes, each when its folder is found to hold no unit but its own. Raises Conflict as `check_no_others`."""
    for plan in plans:
        check_no_others(plan.output, plan.keys)
        yield plan


def wait_for(dataset: str, keys: Sequence[str], share: Share) -> None:
    """Return when all these units are committed. Raises Waiting when this task's patience is at its end."""
    deadline = time.monotonic() + share.wait
    while missing := Dataset(dataset).missing(keys):
        if share.count == 1:
            raise removed(dataset, missing[0])
        left = deadline - time.monotonic()
        if left <= 0:
            raise Waiting(
                f"{dataset}: {len(missing)} of {len(keys)} units are with other tasks, e.g. {missing[0]}; "
                "when they are done, the same command goes on"
            )
        time.sleep(min(_POLL, left))


def removed(where: str, unit: str) -> OSError:
    """The error of a unit that was committed and is not there."""
    return OSError(
        f"{where}: what was committed for unit {unit} is not there; somebody removed it, or it is on another machine's "
        "own disk: use an output folder that all share"
    )
