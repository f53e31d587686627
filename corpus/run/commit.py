"""How a unit ends: its files are published and its record is written, after the accounts have been checked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

from corpus.engine.base import Attempt, Unit
from corpus.schema import DROPPED
from corpus.store.records import CommitRecord, Input, Output, account_errors, output_of
from corpus.store.shards import Dataset

DROPPED_SCHEMAS = {True: DROPPED, False: DROPPED.remove(DROPPED.get_field_index("text"))}


def check_whole(dataset: Dataset, kind: str, planned: Input) -> None:
    """Raises ValueError if a dataset's files of one kind are not those that a unit was planned for."""
    if dataset.whole(kind) != planned:
        raise ValueError(f"{dataset.path}: its {kind} are not those that were there when this was planned; run again")


def find_output(dataset: Dataset, unit: str, kind: str) -> Output:
    """The committed file of a unit. Raises ValueError if there is none."""
    record = dataset.record(unit)
    if record and (output := record.output(kind)):
        return output
    raise ValueError(f"{dataset.path}: no committed {kind} for unit {unit}")


class Named(Protocol):
    """A work that commits to a dataset."""

    @property
    def name(self) -> str: ...

    @property
    def output(self) -> str: ...

    @property
    def config_hash(self) -> str: ...


def commit(
    work: Named,
    unit: Unit,
    attempt: Attempt,
    began: float,
    counts: list[dict[str, Any]],
    outputs: list[Output],
    files: list[Path],
) -> None:
    """Publish finished files, and the record of them."""
    record = CommitRecord(
        unit=unit.key,
        stage=work.name,
        config=work.config_hash,
        inputs=unit.inputs,
        outputs=tuple(outputs),
        counts=tuple(counts),
        attempt=attempt.number,
        seconds=round(time.monotonic() - began, 3),
    )
    Dataset(work.output).commit(record, files)


def commit_file(
    work: Named,
    unit: Unit,
    attempt: Attempt,
    began: float,
    path: Path,
    kind: str,
    rows: int,
    documents: int,
    **sums: int,
) -> None:
    """Publish the one file of a unit, which has so many rows, and its record: all documents were read and kept."""
    output = output_of(path, unit.key, kind, rows, path.suffix[1:] or kind)
    counts: dict[str, Any] = {"stage": work.name, "read": documents, "kept": documents, "dropped": {}}
    commit(work, unit, attempt, began, [counts | sums], [output], [path])


def check_accounts(unit: str, accounts: list[dict[str, Any]], outputs: list[Output]) -> None:
    """read = kept + dropped over the whole chain, and the files hold what the accounts say. Else: our bug."""
    for problem in account_errors(accounts):
        raise RuntimeError(f"unit {unit}: {problem}")
    rows = {output.kind: output.rows for output in outputs}
    dropped = sum(sum(account["dropped"].values()) for account in accounts)
    if accounts[-1]["kept"] != outputs[0].rows or rows.get("dropped", 0) != dropped:
        raise RuntimeError(f"unit {unit}: accounts {accounts[-1]['kept']} + {dropped}, files hold {rows}")
