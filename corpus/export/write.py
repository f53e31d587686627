"""Writes an export: the files of the corpus, then its card, then the checksums.

In: a `Source` and a `Plan`. Out: a folder, local or in an object store:

    data/...        the rows (documents/... for Dolma)
    export.json     the plan: what is exported, and how
    README.md       the card
    SHA256SUMS      the checksum of every other file; it is written last, so an export that has it is whole

Every file is finished under a scratch name before it is published. A file depends on the plan and on the rows alone:
an export that was killed goes on with the files that are missing, and comes to the same bytes. The plan is kept in the
output and compared. So a folder with other content is refused, and nothing in it is overwritten.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from bpe.parse import parse_json
from corpus.export import load_format
from corpus.export.base import Format, Options
from corpus.export.card import Facts, card
from corpus.export.source import Source, cuts, funnel_of, inputs_of, languages, rows_between, versions_of
from corpus.store.base import Storage, join_key
from corpus.store.files import sha256
from corpus.store.open import storage
from corpus.store.records import difference

SUMS, CARD, PLAN = "SHA256SUMS", "README.md", "export.json"
FILE_SIZE = 500 * 10**6  # bytes


class Plan(NamedTuple):
    """How a corpus is exported.

    to         a format of `corpus.export.FORMATS`
    name       of the corpus
    licence    an identifier of the Hub; "" if none is stated
    columns    the columns to export; none: all
    file_size  bytes of shards whose rows come into one file
    row_group  rows of a row group of Parquet
    repeat     the command, for the card
    """

    to: str
    name: str
    licence: str = ""
    columns: tuple[str, ...] = ()
    file_size: int = FILE_SIZE
    row_group: int = 1024
    repeat: str = ""


class Exported(NamedTuple):
    """What an export has left: documents, files of data and their bytes, and how many files were there before."""

    rows: int
    files: int
    bytes: int
    before: int


def export(source: Source, plan: Plan, output: str, say: Callable[[str], object] = print) -> Exported:
    """Write a source into the folder `output`.

    `say` is called with a line for each file. Raises ValueError for a plan that does not fit the source, and for an
    output that holds anything else than this export.
    """
    form = load_format(plan.to)
    schema = _columns(source, plan, form)
    bounds = cuts(source, plan.file_size) if form.splits else [0, source.rows]
    place = storage(output)
    place.make_folder("")
    place.sweep()
    known = _begin(place, source, plan, bounds, schema)
    checksums: dict[str, str] = {}
    size = before = 0
    options = Options(plan.name, plan.row_group, source.footer)
    for number in range(len(bounds) - 1):
        stem = form.stem(plan.name, number, len(bounds) - 1)
        keys = [stem + ending for ending in form.endings]
        digests = [_digest(place, key) for key in keys]
        if None in digests:
            rows = rows_between(source, bounds[number], bounds[number + 1], schema.names)
            digests = list(_written(place, form, stem, rows, schema, options))
            say(f"{output}/{keys[0]}: {bounds[number + 1] - bounds[number]:,} documents")
        else:
            before += len(keys)
        for key, digest in zip(keys, digests, strict=True):
            if known.get(key, digest) != digest:
                raise ValueError(f"{output}/{key}: differs from {SUMS}; remove this file to write it again")
            checksums[key] = digest or ""
            size += place.size(key) or 0
    text = card(_facts(source, plan, form, schema, len(checksums)))
    place.replace(CARD, text.encode())
    checksums[CARD] = hashlib.sha256(text.encode()).hexdigest()
    checksums[PLAN] = hashlib.sha256(place.read(PLAN) or b"").hexdigest()
    lines = [f"{digest}  {key}\n" for key, digest in sorted(checksums.items())]
    place.replace(SUMS, "".join(lines).encode())
    return Exported(source.rows, len(checksums) - 2, size, before)


def read_checksums(place: Storage) -> dict[str, str]:
    """Key -> sha256 of the files of an export; empty where it has no SHA256SUMS. Raises ValueError for another file."""
    data = place.read(SUMS)
    checksums = {}
    for line in (data or b"").decode("utf-8", "replace").splitlines():
        digest, _, key = line.partition("  ")
        if len(digest) != 64 or not key or {"", ".", ".."} & set(key.split("/")):
            raise ValueError(f"{place.root}/{SUMS}: not as sha256sum writes it; export the corpus again")
        checksums[key] = digest
    return checksums


def _columns(source: Source, plan: Plan, form: Format) -> pa.Schema:
    """The columns of the files. Raises ValueError naming a column that is not there, or that the format needs."""
    names = source.schema.names
    picked = list(plan.columns) or names
    if plan.columns and not form.picks:
        raise ValueError(f"--columns: {plan.to} has no columns to choose; leave it out")
    if lacking := next((name for name in [*picked, *form.needs] if name not in names), None):
        raise ValueError(f"{source.dataset.path}: no column {lacking}; it has {', '.join(names)}")
    if needed := next((name for name in form.needs if name not in picked), None):
        raise ValueError(f"--columns: {plan.to} needs the column {needed}; add it")
    return pa.schema([source.schema.field(name) for name in picked])


def _begin(place: Storage, source: Source, plan: Plan, bounds: list[int], schema: pa.Schema) -> dict[str, str]:
    """Keep the plan in the output; returns the checksums of an earlier call that came to the end.

    Raises ValueError if the output holds another export, or anything else.
    """
    digest = hashlib.sha256("".join(f"{shard.path} {shard.sha256}\n" for shard in source.shards).encode()).hexdigest()
    content: dict[str, Any] = {
        "format": 1,
        "to": plan.to,
        "name": plan.name,
        "columns": schema.names,
        "row_group": plan.row_group,
        "source": {"kind": source.kind, "shards": len(source.shards), "sha256": digest},
        "rows": bounds,
        "versions": _versions(),
    }
    present = place.read(PLAN)
    if present is None:
        if other := next(iter([*place.folders(""), *(entry.key for entry in place.entries(""))]), None):
            raise ValueError(f"{place.root}: holds {other} and no export; name a new folder")
        data = (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
        if not place.create(PLAN, data):
            return _begin(place, source, plan, bounds, schema)  # another call was first
        return {}
    try:
        before = parse_json(present)
    except ValueError:
        raise ValueError(f"{place.root}/{PLAN}: not the plan of an export; name a new folder") from None
    if before != content:
        raise ValueError(f"{place.root}: holds another export{difference(before, content)}; name a new folder")
    return {key: value for key, value in read_checksums(place).items() if key not in (CARD, PLAN)}


def _written(
    place: Storage, form: Format, stem: str, rows: Iterator[pa.RecordBatch], schema: pa.Schema, options: Options
) -> Iterator[str]:
    """Write and publish the files of one stem; yields the sha256 of each."""
    folder, _, name = stem.rpartition("/")
    place.make_folder(folder)
    with place.scratch() as scratch:
        form.write(scratch / name, rows, schema, options)
        for ending in form.endings:
            local = Path(f"{scratch / name}{ending}")
            digest = sha256(local)
            place.publish(local, join_key(folder, name + ending))
            yield digest


def _digest(place: Storage, key: str) -> str | None:
    """The sha256 of an object, None if there is none."""
    try:
        with place.open(key) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type, unused-ignore]
    except FileNotFoundError:
        return None


def _versions() -> dict[str, str]:
    from corpus import __version__

    return {"corpus": __version__, "pyarrow": pa.__version__}


def _facts(source: Source, plan: Plan, form: Format, schema: pa.Schema, files: int) -> Facts:
    recipe = storage(source.run).read("recipe.toml") if source.run else None
    return Facts(
        plan.name,
        source.kind,
        source.rows,
        files,
        form,
        languages(source),
        plan.licence,
        schema,
        funnel_of(source),
        (recipe or b"").decode("utf-8", "replace"),
        inputs_of(source),
        {"python": platform.python_version(), **versions_of(source), **_versions()},
        plan.repeat,
        source.footer,
    )
