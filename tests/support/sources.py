"""Reads other people's files as a unit does, without an engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.run.chain import Chain
from corpus.sources.columns import Columns
from corpus.sources.plan import SourceFiles, open_sources
from tests.support.works import NotingAttempt


class Read(NamedTuple):
    """What comes out of files: documents and dropped rows, a dict each, the accounts by unit, and the files."""

    documents: list[dict[str, Any]]
    dropped: list[dict[str, Any]]
    accounts: dict[str, dict[str, Any]]
    files: SourceFiles

    @property
    def texts(self) -> list[str]:
        return [document["text"] for document in self.documents]

    @property
    def ids(self) -> list[str]:
        return [document["id"] for document in self.documents]

    @property
    def rules(self) -> dict[str, str]:
        """The rule that dropped a row, by the row's id."""
        return {row["id"]: row["rule"] for row in self.dropped}


def read_files(paths: str | Path | Sequence[str | Path], columns: Columns | None = None) -> Read:
    """All units of the files that `paths` names. Every account is checked, and every ordinal."""
    named = [paths] if isinstance(paths, str | Path) else paths
    files = open_sources([str(path) for path in named], columns or Columns())
    reader, read = files.reader(), Read([], [], {}, files)
    for unit in files.units(files.keys()):
        chain = Chain([], NotingAttempt(), 1.0)
        ordinals: list[int] = []
        for rows in reader.read(unit, chain):
            assert 1 <= len(rows.ordinals) == rows.batch.num_rows <= 1024
            assert rows.batch.schema == files.schema == reader.schema(unit)
            rows.batch.validate(full=True)
            read.documents.extend(rows.batch.to_pylist())
            ordinals += rows.ordinals
        dropped = chain.dropped()
        dropped.validate(full=True)
        read.dropped.extend(dropped.to_pylist())
        account = chain.before[0].to_json()
        assert account["read"] == account["kept"] + sum(account["dropped"].values())
        assert (account["kept"], sum(account["dropped"].values())) == (len(ordinals), dropped.num_rows)
        assert ordinals == sorted(set(ordinals))
        assert set(ordinals) <= set(range(account["read"]))
        read.accounts[unit.key] = account
    return read
