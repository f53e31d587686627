"""Records of a dataset: the commit record of a unit, the files that it names, and the accounts that it carries.

A commit record stands for one finished unit of work. It says which configuration made which output files from which
input files, and how many documents each stage read, kept and dropped. It is written last and once: a file that no
record names does not exist for a reader.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.store.files import sha256

FORMAT = 1
UNREADABLE = ""  # the etag of an input that could not be read when a pass was planned; no record has it
FOLDERS = {"dropped": "dropped", "audit": "audit"}  # kind of a file -> its folder; all other kinds lie in data/


class Conflict(ValueError):
    """The output holds a unit that was made from another input or by another configuration."""


@dataclass(frozen=True)
class Input:
    """A file that a unit reads; `etag` identifies its content."""

    path: str
    size: int  # bytes
    etag: str


@dataclass(frozen=True)
class Output:
    """A file that a unit wrote; `path` is relative to the dataset."""

    path: str
    kind: str  # documents, dropped, audit, signatures, labels, tokens, ...
    rows: int
    bytes: int
    sha256: str

    @property
    def unit(self) -> str:
        """The unit that wrote these rows. The name of a shard carries it."""
        return unit_of(self.path)


@dataclass(frozen=True)
class CommitRecord:
    """What a finished unit of work has left.

    `counts` has one account (a dict) for each stage: stage, read, kept, dropped {rule: documents}, and what else the
    stage counted, such as tokens.
    """

    unit: str
    stage: str
    config: str  # hash of the configuration
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    counts: tuple[dict[str, Any], ...]
    attempt: int = 1
    seconds: float = 0.0
    format: int = FORMAT

    def output(self, kind: str) -> Output | None:
        """The file of this kind, None if there is none."""
        return next((output for output in self.outputs if output.kind == kind), None)

    def to_json(self) -> bytes:
        """The record as the file `_units/<unit>.json` holds it."""
        return (json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n").encode()

    @staticmethod
    def from_json(data: bytes, name: str) -> CommitRecord:
        """The record in the bytes of the file `name`. Raises ValueError naming the file if it is no commit record."""
        try:
            fields = json.loads(data)
            fields["inputs"] = tuple(Input(**item) for item in fields["inputs"])
            fields["outputs"] = tuple(Output(**item) for item in fields["outputs"])
            fields["counts"] = tuple(fields["counts"])
            return CommitRecord(**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{name}: not a commit record ({error}); remove it to redo this unit") from None


def output_of(path: Path, unit: str, kind: str, rows: int, suffix: str) -> Output:
    """What a record says of a finished local file. The file's published name carries the hash of its content."""
    digest = sha256(path)
    name = f"{FOLDERS.get(kind, 'data')}/{unit}-{digest[:12]}.{suffix}"
    return Output(name, kind, rows, path.stat().st_size, digest)


def unit_of(path: str) -> str:
    """The unit in a shard's name, `data/<unit>-<sha12>.parquet`."""
    return path.rpartition("/")[2].rpartition("-")[0]


def account_errors(counts: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Every place where a unit's accounts do not add up, a line each.

    In each stage, read = kept + dropped; and each stage reads what the stage before it kept.
    """
    for account in counts:
        dropped = sum(account["dropped"].values())
        if account["read"] != account["kept"] + dropped:
            yield f"{account['stage']}: {account['read']} read is not {account['kept']} kept + {dropped} dropped"
    for before, after in itertools.pairwise(counts):
        if before["kept"] != after["read"]:
            yield f"{before['stage']} kept {before['kept']}, but {after['stage']} read {after['read']}"


def difference(before: dict[str, Any] | None, now: dict[str, Any] | None) -> str:
    """The settings in which two configurations differ, as `: extract.favor is "balanced" there, "precision" here`.

    `before` is "there", `now` is "here"; empty if one of them is not known.
    """
    if before is None or now is None:
        return ""
    old, new = _flatten(before), _flatten(now)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    old, new = ({name: json.dumps(value, ensure_ascii=False) for name, value in flat.items()} for flat in (old, new))
    shown = [f"{name} is {old.get(name, 'not set')} there, {new.get(name, 'not set')} here" for name in names[:3]]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ": " + "; ".join(shown) + more if shown else ""


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f"{prefix}.{key}" if prefix else key))
    return flat
