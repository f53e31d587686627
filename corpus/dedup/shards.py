"""The shards that deduplication reads, in one order: the shards of a published index first, then the corpus's own.

Every document has a row number over all of these shards. What passes exchange is written by groups of neighbouring
shards. Groups are so large that whoever reads a part of a group's file reads about a megabyte at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from corpus.dedup.published import PublishedIndex
from corpus.store.records import Output
from corpus.store.shards import Dataset

# Stands before the keys of the index's shards, to tell them from the corpus's own, whose keys never have it.
PUBLISHED = "@"

# Bytes that a unit of `keys` or `candidates` writes. Of a gigabyte, one partition in 1,024 is a megabyte. A small
# corpus is cut into _GROUPS groups, so that all workers have something to do.
_LARGEST_GROUP, _SMALLEST_GROUP, _GROUPS = 1 << 30, 4 << 20, 64


class SignedShard(NamedTuple):
    """A shard of signatures: of the corpus, or of an index."""

    key: str
    dataset: Dataset
    signatures: Output
    first_row: int  # over all shards

    @property
    def end(self) -> int:
        """The first row after this shard."""
        return self.first_row + self.signatures.rows

    @property
    def published(self) -> bool:
        return self.key.startswith(PUBLISHED)


class Group(NamedTuple):
    """Neighbouring shards: all of them the index's, or none."""

    key: str
    shards: list[SignedShard]

    @property
    def first_row(self) -> int:
        return self.shards[0].first_row

    @property
    def end(self) -> int:
        """The first row after this group."""
        return self.shards[-1].end

    @property
    def published(self) -> bool:
        return self.shards[0].published


@dataclass(frozen=True)
class SignedShards:
    """All signed shards in order: where they are, and how many documents make a group of them.

    signatures  the folder of the corpus's signatures
    index       the index of published documents, None without one
    documents   a group ends with the shard that brings it to so many documents
    """

    signatures: str
    index: PublishedIndex | None
    documents: int

    def signed(self) -> Iterator[SignedShard]:
        """Every shard, the index's first."""
        row = 0
        for records, folder, prefix in (
            (self.index.records() if self.index else iter(()), self.index.path if self.index else "", PUBLISHED),
            (Dataset(self.signatures).scan(), self.signatures, ""),
        ):
            for record in records:
                output = record.output("signatures")
                assert output
                yield SignedShard(prefix + record.unit, Dataset(folder), output, row)
                row += output.rows

    def groups(self) -> list[Group]:
        """The shards in groups; they depend on the shards alone."""
        parts: list[list[SignedShard]] = []
        for shard in self.signed():
            full = parts and parts[-1][-1].end - parts[-1][0].first_row >= self.documents
            if not parts or full or parts[-1][-1].published != shard.published:
                parts.append([])
            parts[-1].append(shard)
        prefixes = [PUBLISHED if part[0].published else "" for part in parts]
        names = [f"{prefix}{number:05d}-of-{len(parts):05d}" for number, prefix in enumerate(prefixes)]
        return [Group(name, part) for name, part in zip(names, parts, strict=True)]

    def own_groups(self) -> list[Group]:
        """The groups of the corpus, without the index's."""
        return [group for group in self.groups() if not group.published]

    def grouped(self, size: int, rows: int) -> SignedShards:
        """The shards in groups of a good size for a pass that writes `size` bytes about all `rows` documents."""
        group = min(max(size // _GROUPS, _SMALLEST_GROUP), _LARGEST_GROUP)
        return dataclasses.replace(self, documents=max(1, group * rows // max(1, size)))


def find_group(groups: list[Group], key: str) -> int:
    """The place of a group among these."""
    return [group.key for group in groups].index(key)
