"""Records of a dataset: the commit record of a unit, the files that it names, and the accounts that it carries.

A commit record stands for one finished unit of work. It says which configuration made which output files from which
input files, and how many documents each stage read, kept and dropped. It is written last and once: a file that no
record names does not exist for a reader.

A record may come from somebody else, or from a damaged disk. It has a checksum of its content, and is believed only
when that is right, when its unit is the one that its file is named after, and when its outputs lie in the dataset.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bpe.checksums import json_checksum, read_json
from bpe.parse import brief
from corpus.store.files import sha256

FORMAT = 2  # records of format 1 have no checksum
_MOST, _MOST_ATTEMPTS = 1 << 63, 1 << 31  # the manifest holds numbers below these (int64 and int32)
_LEVELS = 16  # of lists and objects in an account
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
        fields = dataclasses.asdict(self)
        if self.format > 1:
            fields["checksum"] = json_checksum(fields)
        return (json.dumps(fields, indent=1, ensure_ascii=False) + "\n").encode()

    @staticmethod
    def from_json(data: bytes, name: str) -> CommitRecord:
        """The record in the bytes of the file `name`, which is called `<unit>.json`.

        Raises ValueError naming the file if it is no commit record, is damaged, or is the record of another unit.
        """
        try:
            fields = read_json(data)
            fields["inputs"] = tuple(Input(**item) for item in fields["inputs"])
            fields["outputs"] = tuple(Output(**item) for item in fields["outputs"])
            fields["counts"] = tuple(fields["counts"])
            return checked(CommitRecord(**fields), name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = brief(error, 500)
            raise ValueError(f"{name}: not a commit record ({reason}); remove it to redo this unit") from None


def checked(record: CommitRecord, name: str) -> CommitRecord:
    """The record, which was read as the file `name`. Raises ValueError or TypeError saying what is wrong with it."""
    if record.format not in (1, FORMAT):
        raise ValueError(f"format {record.format!r}, this version reads 1 and {FORMAT}; update the toolkit")
    if record.unit != PurePosixPath(name).name.removesuffix(".json"):
        raise ValueError(f"unit {record.unit!r} is not the name of the file")
    _check_types(record, {"unit": str, "stage": str, "config": str, "attempt": int, "seconds": (int, float)})
    if "/" in record.config or "\0" in record.config:
        raise ValueError(f"config {record.config!r} is no hash")
    if record.attempt >= _MOST_ATTEMPTS:
        raise ValueError(f"attempt is {record.attempt}, should be a number below {_MOST_ATTEMPTS}")
    for source in record.inputs:
        _check_types(source, {"path": str, "size": int, "etag": str})
    for output in record.outputs:
        _check_types(output, {"path": str, "kind": str, "rows": int, "bytes": int, "sha256": str})
        if not _lies_inside(output.path) or not _lies_inside(output.kind):
            raise ValueError(f"output {output.path!r} of kind {output.kind!r} lies outside of the dataset")
    for account in record.counts:
        numbers = {"read": account["read"], "kept": account["kept"], **account["dropped"]}
        if wrong := next((key for key, number in numbers.items() if not _is_count(number)), None):
            raise ValueError(f"{wrong} is {numbers[wrong]!r} in an account, should be a number of documents")
        if not isinstance(account["stage"], str):
            raise ValueError(f"stage is {account['stage']!r} in an account, should be a name")
    if not _is_shallow(record.counts):
        raise ValueError("an account is nested too deep")
    if not _is_unicode(json.dumps(record.counts, ensure_ascii=False)):
        raise ValueError("an account has a text that is no Unicode")
    return record


def _check_types(item: CommitRecord | Input | Output, types: dict[str, Any]) -> None:
    """Raises ValueError if a field has another type, or is a value that the manifest cannot hold."""
    for name, kind in types.items():
        value = getattr(item, name)
        if kind is str:
            is_right = isinstance(value, str) and _is_unicode(value)
        else:
            is_right = isinstance(value, kind) and not isinstance(value, bool) and 0 <= value < _MOST
        if not is_right:
            raise ValueError(f"{name} is {value!r}, should be {'a string' if kind is str else 'a number from 0'}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _is_shallow(value: Any, levels: int = _LEVELS) -> bool:
    """Whether lists and objects lie in each other at most `levels` deep."""
    items = value.values() if isinstance(value, dict) else value
    inner = (item for item in items if isinstance(item, dict | list))
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)


def _is_unicode(text: str) -> bool:
    """Whether the text can be written in UTF-8. JSON can name the halves of surrogate pairs, which cannot."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _lies_inside(path: str) -> bool:
    """Whether a relative path leads to a place below the folder that it starts in."""
    parts = path.split("/")
    return "\0" not in path and not {"", ".", ".."} & set(parts)


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
    shown = [
        f"{brief(name)} is {brief(old.get(name, 'not set'))} there, {brief(new.get(name, 'not set'))} here"
        for name in names[:3]
    ]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ": " + "; ".join(shown) + more if shown else ""


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f"{prefix}.{key}" if prefix else key))
    return flat
