"""A pass before it runs: its units, the share of them that this task does, and the units of other tasks that it awaits.

A run is a sequence of passes. Each pass writes one dataset, unit by unit. The commit records of a dataset are the only
thing that tells whether a unit is done, so that tasks on different machines need no other contact.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from corpus.engine.base import Unit, Work
from corpus.store.records import Conflict, Input
from corpus.store.shards import Dataset

if TYPE_CHECKING:
    from corpus.run.work import Reader

_POLL = 2.0  # seconds between looks at what other tasks have committed


class Waiting(Exception):
    """The next pass reads units that other tasks have not committed yet."""


@dataclass(frozen=True)
class Share:
    """Task `index` of `count`, from 1: it does every count-th unit. `wait`: seconds to wait for the others."""

    index: int = 1
    count: int = 1
    wait: float = 0.0

    def of(self, keys: Sequence[str]) -> Sequence[str]:
        """The keys that are this task's."""
        return keys[self.index - 1 :: self.count]


ALONE = Share()


class Files(Protocol):
    """Other people's files of documents, as `corpus.sources` opens them."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of the documents that the files become."""

    @property
    def left_out(self) -> Sequence[str]:
        """Columns of the files that the documents do not get."""

    def keys(self) -> list[str]:
        """The units that the files make, sorted."""

    def units(self, keys: Sequence[str]) -> list[Unit]:
        """The units with these keys."""

    def reader(self) -> Reader:
        """What reads the rows of a unit."""

    def config(self) -> dict[str, Any]:
        """What decides the rows besides the files, for the config hash."""


@dataclass(frozen=True)
class Source:
    """Where a pass reads: WARC files, the documents that a dataset has committed, or other people's files."""

    warcs: tuple[str, ...] = ()
    dataset: str | None = None
    files: Files | None = None


@dataclass
class Pass:
    """One pass, ready to run.

    name    as the progress line and the commit records have it
    output  the dataset that it writes
    keys    all its units, sorted
    units   keys -> the units with these keys whose inputs exist
    config  what the config hash of its commit records is taken over (see `corpus.run.recipe.describe`)
    work    config hash -> the work that the engine runs for each unit
    sums    what the sums in its accounts mean, by name (see `corpus.stage.Stage.sums`)
    holds   documents or tokens, if the dataset is for readers: then it has a card (see `corpus.store.card`)
    """

    name: str
    output: str
    keys: Sequence[str]
    units: Callable[[Sequence[str]], list[Unit]]
    config: dict[str, Any]
    work: Callable[[str], Work]
    sums: Mapping[str, str] = field(default_factory=dict)
    holds: str = ""


def global_pass(
    name: str, output: str, keys: Sequence[str], whole: Input, config: dict[str, Any], work: Callable[[str], Work]
) -> Pass:
    """A pass whose units each read a whole dataset, which `whole` stands for."""
    return Pass(name, output, keys, lambda mine: [Unit(key, (whole,)) for key in mine], config, work)


def documents_of(dataset: str) -> list[str]:
    """The units that have committed documents, sorted. Raises ValueError if there are none."""
    keys = [record.unit for record in Dataset(dataset).scan() if record.output("documents")]
    if not keys:
        raise ValueError(f"{dataset}: no committed documents; it should be the output folder of an earlier command")
    return keys


def document_units(dataset: str) -> Callable[[Sequence[str]], list[Unit]]:
    """A function that makes units of keys: each unit reads one shard of the documents of `dataset`."""

    def units(keys: Sequence[str]) -> list[Unit]:
        wanted, folder = set(keys), dataset.rstrip("/")  # two slashes are another key, to an object store
        return [
            Unit(record.unit, (Input(f"{folder}/{output.path}", output.bytes, output.sha256),))
            for record in Dataset(dataset).scan()
            if record.unit in wanted and (output := record.output("documents"))
        ]

    return units


def check_no_others(dataset: str, keys: Sequence[str]) -> None:
    """Check that a dataset holds no unit but these: the passes behind it read all that it holds.

    Raises Conflict naming the first other unit, which comes from another input, or from the same input cut into other
    units.
    """
    planned = set(keys)
    if other := next((unit for unit in Dataset(dataset).units() if unit not in planned), None):
        raise Conflict(
            f"{dataset}: holds unit {other}, which is none of this call's; "
            "name all inputs, or use another output folder"
        )


def with_no_others(plans: Iterable[Pass]) -> Iterator[Pass]:
    """The passes, each after `check_no_others` of its folder. Raises Conflict as that does."""
    for plan in plans:
        check_no_others(plan.output, plan.keys)
        yield plan


def wait_for(dataset: str, keys: Sequence[str], share: Share) -> None:
    """Return when all these units are committed. Raises Waiting when `share.wait` is over before that."""
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
    """The error for a unit whose commit record or files have disappeared."""
    return OSError(
        f"{where}: what was committed for unit {unit} is not there; somebody removed it, or it is on another machine's "
        "own disk: use an output folder that all share"
    )
