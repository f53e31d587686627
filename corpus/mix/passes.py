"""The passes of a mixture: one that sizes up the groups of all sources, one that takes what is wanted of each.

groups        a unit a shard     how much of each group it has
(documents)   a unit a shard     its documents, as often as they are taken
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from corpus.engine.base import Unit
from corpus.mix.draw import COPY, GROUP, Grouping, Part, plan
from corpus.mix.work import GroupsWork, MixWork, Shard, sizes_of
from corpus.run.plan import ALONE, Pass, Share, check_no_others, document_units, documents_of, wait_for
from corpus.run.recipe import describe
from corpus.store.shards import Dataset


@dataclass(frozen=True)
class Mixture:
    """What is to be mixed. `weights` by group; none: every document is taken as often as its cluster says."""

    sources: Mapping[str, str]  # by name, a dataset
    grouping: Grouping
    weights: Mapping[str, float]
    output: str
    total: float | None = None  # in the grouping's measure
    max_repeats: float = 1.0
    seed: int = 1
    share: Share = ALONE

    @property
    def work(self) -> str:
        return f"{self.output}/_mix"


def name_sources(paths: Sequence[str]) -> dict[str, str]:
    """Sources by the last part of their paths. Raises ValueError if two have the same."""
    named: dict[str, str] = {}
    for path in paths:
        name = PurePosixPath(path).name or path
        if name in named:
            raise ValueError(f"{path}: has the name of {named[name]}; rename one of the folders")
        named[name] = path.rstrip("/") or "/"
    return named


def mix_passes(mixture: Mixture) -> Iterator[Pass]:
    """Both passes. Raises ValueError for columns that differ or are not there, and for groups that are empty."""
    shards = {
        f"{name}-{unit}": Shard(path, unit, name)
        for name, path in mixture.sources.items()
        for unit in documents_of(path)
    }
    keys = sorted(shards)
    for path in mixture.sources.values():
        _check_columns(path, mixture.grouping)
    groups = f"{mixture.work}/groups"
    grouping = dataclasses.asdict(mixture.grouping)
    check_no_others(groups, keys)
    yield Pass(
        "groups",
        groups,
        keys,
        _units(mixture.sources, shards),
        describe([], grouping=grouping),
        lambda digest: GroupsWork("groups", groups, digest, shards, mixture.grouping),
    )
    wait_for(groups, keys, mixture.share)
    factors = {part.name: part.factor for part in parts(mixture)}
    schema = merged_schema(mixture.sources)
    check_no_others(mixture.output, keys)
    yield Pass(
        "mix",
        mixture.output,
        keys,
        _units(mixture.sources, shards),
        describe([], grouping=grouping, factors=factors, seed=mixture.seed),
        lambda digest: MixWork("mix", mixture.output, digest, shards, mixture.grouping, factors, mixture.seed, schema),
    )


def _check_columns(path: str, grouping: Grouping) -> None:
    dataset = Dataset(path)
    there = dataset.schema(dataset.files("documents")[0]).names
    if missing := next((name for name in grouping.columns() if name not in there), None):
        raise ValueError(f"{path}: no column {missing}; its documents have {', '.join(there)}")


def parts(mixture: Mixture) -> list[Part]:
    """The groups, with how often they are taken. The pass that sizes them up is done."""
    have = sizes_of(Dataset(f"{mixture.work}/groups"))
    if not mixture.weights:
        whole = sum(have.values())
        return [Part(name, size, size / whole, 1.0) for name, size in sorted(have.items())]
    return plan(have, mixture.weights, mixture.total, mixture.max_repeats)


def taken(mixture: Mixture) -> dict[str, int]:
    """How much of each group is in the result."""
    sums: dict[str, int] = {}
    for record in Dataset(mixture.output).scan():
        for name, size in record.counts[-1]["groups"].items():
            sums[name] = sums.get(name, 0) + size
    return sums


def merged_schema(sources: Mapping[str, str]) -> pa.Schema:
    """The columns of all sources, and those that a mixture adds. Raises ValueError if two have a column otherwise."""
    fields: dict[str, tuple[pa.Field, str]] = {}
    for path in sources.values():
        dataset = Dataset(path)
        for output in dataset.files("documents")[:1]:
            for field in dataset.schema(output):
                there, of = fields.setdefault(field.name, (field, path))
                if there.type != field.type:
                    raise ValueError(f"{path}: column {field.name} is {field.type}, in {of} it is {there.type}")
    added = [pa.field(GROUP, pa.string()), pa.field(COPY, pa.int32())]
    return pa.schema([field for field, _ in fields.values() if field.name not in (GROUP, COPY)] + added)


def _units(sources: Mapping[str, str], shards: Mapping[str, Shard]) -> Any:
    def units(keys: Sequence[str]) -> list[Unit]:
        wanted = set(keys)
        found = []
        for name, path in sources.items():
            own = [shard.unit for key, shard in shards.items() if shard.group == name and key in wanted]
            found += [Unit(f"{name}-{unit.key}", unit.inputs) for unit in document_units(path)(own)]
        return found

    return units
