"""The passes of a mixture: one finds out the size of each group, one takes as many documents of each as are wanted.

pass          its units   what a unit writes
groups        a shard     the size of each group in the shard, in documents, tokens or bytes
(documents)   a shard     the shard's documents, each as often as it is taken
"""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

from corpus.engine.base import Unit
from corpus.mix.draw import COPY, GROUP, Grouping, Part, plan
from corpus.mix.work import GroupsWork, MixWork, SourceShard, sizes_of
from corpus.run.plan import ALONE, Pass, Share, document_units, documents_of, wait_for, with_no_others
from corpus.run.recipe import describe
from corpus.store.shards import Dataset


@dataclass(frozen=True)
class Mixture:
    """What is mixed, and how.

    sources      folders of documents, by the names of the sources
    grouping     how documents are put into groups and measured
    weights      by group, its part of the result; empty: each document is taken as often as its cluster's weight says
    output       the folder of the result
    total        size of the result in the grouping's measure; None: as much as the weights allow
    max_repeats  how often a group is taken at the most
    seed         of the draws that decide which documents are taken
    share        the units that this task does
    """

    sources: Mapping[str, str]
    grouping: Grouping
    weights: Mapping[str, float]
    output: str
    total: float | None = None
    max_repeats: float = 1.0
    seed: int = 1
    share: Share = ALONE

    @property
    def work(self) -> str:
        """The folder for the dataset of the pass `groups`."""
        return f"{self.output}/_mix"


def name_sources(paths: Sequence[str]) -> dict[str, str]:
    """Sources by their names, the last parts of their paths that are no patterns.

    Raises ValueError if two sources have one name.
    """
    named: dict[str, str] = {}
    for path in paths:
        name = next((part for part in reversed(PurePosixPath(path).parts) if not glob.has_magic(part)), path)
        if name in named:
            raise ValueError(f"{path}: has the name of {named[name]}; rename one of the folders")
        named[name] = path.rstrip("/") or "/"
    return named


def mix_passes(mixture: Mixture) -> Iterator[Pass]:
    """Both passes. Raises ValueError for columns that are missing or differ between sources, and for empty groups."""
    shards = {
        f"{name}-{unit}": SourceShard(path, unit, name)
        for name, path in mixture.sources.items()
        for unit in documents_of(path)
    }
    for path in mixture.sources.values():
        _check_columns(path, mixture.grouping)
    yield from with_no_others(_passes(mixture, shards))


def _passes(mixture: Mixture, shards: dict[str, SourceShard]) -> Iterator[Pass]:
    keys, units = sorted(shards), _units(mixture.sources, shards)
    groups, grouping = f"{mixture.work}/groups", dataclasses.asdict(mixture.grouping)
    yield Pass(
        "groups",
        groups,
        keys,
        units,
        describe([], grouping=grouping),
        lambda digest: GroupsWork("groups", groups, digest, shards, mixture.grouping),
    )
    wait_for(groups, keys, mixture.share)
    factors = {part.name: part.factor for part in parts(mixture)}
    schema = merged_schema(mixture.sources)
    yield Pass(
        "mix",
        mixture.output,
        keys,
        units,
        describe([], grouping=grouping, factors=factors, seed=mixture.seed),
        lambda digest: MixWork("mix", mixture.output, digest, shards, mixture.grouping, factors, mixture.seed, schema),
        holds="documents",
    )


def _check_columns(path: str, grouping: Grouping) -> None:
    dataset = Dataset(path)
    names = dataset.schema(dataset.files("documents")[0]).names
    if missing := next((name for name in grouping.columns() if name not in names), None):
        raise ValueError(f"{path}: no column {missing}; its documents have {', '.join(names)}")


def parts(mixture: Mixture) -> list[Part]:
    """The groups, and how often the documents of each are taken. The pass `groups` must be done."""
    sizes = sizes_of(Dataset(f"{mixture.work}/groups"))
    if not mixture.weights:
        whole = sum(sizes.values())
        return [Part(name, size, size / whole, 1.0) for name, size in sorted(sizes.items())]
    return plan(sizes, mixture.weights, mixture.total, mixture.max_repeats)


def taken(mixture: Mixture) -> dict[str, int]:
    """The size of each group in the result."""
    sums: dict[str, int] = {}
    for record in Dataset(mixture.output).scan():
        for name, size in record.counts[-1]["groups"].items():
            sums[name] = sums.get(name, 0) + size
    return sums


def merged_schema(sources: Mapping[str, str]) -> pa.Schema:
    """The columns of all sources, and the two that a mixture adds.

    Raises ValueError if a column has one type in one source and another type in another.
    """
    fields: dict[str, tuple[pa.Field, str]] = {}
    for path in sources.values():
        dataset = Dataset(path)
        for output in dataset.files("documents")[:1]:
            for field in dataset.schema(output):
                first, first_path = fields.setdefault(field.name, (field, path))
                if first.type != field.type:
                    raise ValueError(f"{path}: column {field.name} is {field.type}, in {first_path} it is {first.type}")
    added = [pa.field(GROUP, pa.string()), pa.field(COPY, pa.int32())]
    return pa.schema([field for field, _ in fields.values() if field.name not in (GROUP, COPY)] + added)


def _units(sources: Mapping[str, str], shards: Mapping[str, SourceShard]) -> Callable[[Sequence[str]], list[Unit]]:
    """Units that read a shard of documents of one source each."""

    def units(keys: Sequence[str]) -> list[Unit]:
        wanted = set(keys)
        planned = []
        for name, path in sources.items():
            own = [shard.unit for key, shard in shards.items() if shard.source == name and key in wanted]
            planned += [Unit(f"{name}-{unit.key}", unit.inputs) for unit in document_units(path)(own)]
        return planned

    return units
