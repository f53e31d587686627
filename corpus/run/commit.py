"""How a unit ends: its files are published and its commit record is written, after the accounts have been checked.

Every work of a pass has the same frame, `committing`:

    with committing(self, unit, attempt) as ending:
        ...                                             # writes ending.folder / "edges"
        ending.publish_file("edges", "edges", rows=edges, documents=documents)

The frame starts the clock and gives the work a folder for its files. The folder is removed when the block is left;
nothing is committed unless the block has called `publish` or `publish_file`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from corpus.engine.base import Attempt, Unit
from corpus.schema import DROPPED
from corpus.store.places import recorded
from corpus.store.records import CommitRecord, Input, Output, account_errors, output_of
from corpus.store.shards import Dataset

# Whether the text of dropped documents is kept -> the columns of their shards.
DROPPED_SCHEMAS = {True: DROPPED, False: DROPPED.remove(DROPPED.get_field_index("text"))}


class Named(Protocol):
    """A work that commits to a dataset."""

    @property
    def name(self) -> str: ...

    @property
    def output(self) -> str: ...

    @property
    def config_hash(self) -> str: ...


@dataclass(frozen=True)
class Ending:
    """What an attempt at a unit needs in order to end: where it writes its files, and what its record says."""

    work: Named
    unit: Unit
    attempt: Attempt
    folder: Path  # for the files of this attempt
    began: float  # time.monotonic() at the start of the attempt

    def publish(self, counts: list[dict[str, Any]], outputs: list[Output], files: list[Path]) -> None:
        """Publish finished files, which are `outputs` in this order, and the record with these accounts."""
        record = CommitRecord(
            unit=self.unit.key,
            stage=self.work.name,
            config=self.work.config_hash,
            inputs=tuple(replace(file, path=recorded(file.path, self.work.output)) for file in self.unit.inputs),
            outputs=tuple(outputs),
            counts=tuple(counts),
            attempt=self.attempt.number,
            seconds=round(time.monotonic() - self.began, 3),
        )
        Dataset(self.work.output).commit(record, files)

    def publish_file(self, name: str, kind: str, rows: int, documents: int, **sums: int) -> None:
        """Publish the one file of a unit, `folder / name` with `rows` rows, and its record.

        The account says that `documents` documents were read and all of them kept, and has `sums` beside that.
        """
        path = self.folder / name
        output = output_of(path, self.unit.key, kind, rows, path.suffix[1:] or kind)
        self.publish([account(self.work.name, documents) | sums], [output], [path])


@contextlib.contextmanager
def committing(work: Named, unit: Unit, attempt: Attempt) -> Iterator[Ending]:
    """The frame of an attempt at a unit: see the top of this module."""
    began = time.monotonic()
    with Dataset(work.output).storage.scratch() as folder:
        yield Ending(work, unit, attempt, folder, began)


def account(stage: str, documents: int) -> dict[str, Any]:
    """The account of a stage that read so many documents and kept all of them."""
    return {"stage": stage, "read": documents, "kept": documents, "dropped": {}}


def check_whole(dataset: Dataset, kind: str, planned: Input) -> None:
    """Raises ValueError if a dataset's files of one kind are not those that a unit was planned for."""
    if dataset.whole(kind) != planned:
        raise ValueError(f"{dataset.path}: its {kind} are not those that were there when this was planned; run again")


def whole_input(unit: Unit, path: str, kind: str) -> Dataset:
    """The dataset whose files of one kind are the first input of a unit. Raises ValueError as `check_whole` does."""
    dataset = Dataset(path)
    check_whole(dataset, kind, unit.inputs[0])
    return dataset


def find_output(dataset: Dataset, unit: str, kind: str) -> Output:
    """The committed file of a unit. Raises ValueError if there is none."""
    record = dataset.record(unit)
    if record and (output := record.output(kind)):
        return output
    raise ValueError(f"{dataset.path}: no committed {kind} for unit {unit}")


def check_accounts(unit: str, accounts: list[dict[str, Any]], outputs: list[Output]) -> None:
    """read = kept + dropped over the whole chain, and the files hold what the accounts say. Else: our bug."""
    for problem in account_errors(accounts):
        raise RuntimeError(f"unit {unit}: {problem}")
    rows = {output.kind: output.rows for output in outputs}
    dropped = sum(sum(account["dropped"].values()) for account in accounts)
    if accounts[-1]["kept"] != outputs[0].rows or rows.get("dropped", 0) != dropped:
        raise RuntimeError(f"unit {unit}: accounts {accounts[-1]['kept']} + {dropped}, files hold {rows}")
