"""Settings of deduplication and the two Arrow schemas between its steps; light, so that a command can show
help.

The defaults are FineWeb's (Penedo et al. 2024, arXiv:2406.17557, appendix E.1): word 5-grams, 14 bands of 8
hashes, so that two documents become candidates with probability 1 - (1 - s^8)^14 at Jaccard similarity s:
.56 at .7, .77 at .75, .92 at .8, .99 at .85. Of a cluster the document that is first in input order is
kept.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import pyarrow as pa

from corpus.config import setting


@dataclass(frozen=True)
class Config:
    exact: bool = setting(True, "drop documents whose text is byte for byte that of an earlier one")
    minhash: bool = setting(True, "drop near-duplicates found by MinHash over word n-grams")
    shingle: int = setting(5, "words in an n-gram (FineWeb: 5)", low=1, high=100)
    bands: int = setting(14, "bands; documents equal in one whole band are near-duplicates", low=1, high=1000)
    rows: int = setting(8, "hashes in a band (FineWeb: 14 bands of 8 hashes)", low=1, high=1000)
    seed: int = setting(1, "seed of the MinHash permutations, as in datasketch", low=0, high=2**32 - 1)

    @property
    def num_perm(self) -> int:
        """Hashes in a signature."""
        return self.bands * self.rows

    @property
    def threshold(self) -> float:
        """(1/bands)^(1/rows), the similarity about which the banding's S-curve is steepest.

        Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4.2.
        """
        return float((1 / self.bands) ** (1 / self.rows))


def signatures_schema(config: Config) -> pa.Schema:
    """SIGNATURES for `config`: a row a document, in the documents' order.

    id            the document's id
    text_hash     first 16 bytes of the SHA-256 of the text's UTF-8 bytes; nothing is normalised
    bands         a 64-bit key for each band
    signature     bands * rows little-endian uint32, the minima
    shingles      word n-grams in the document, repeats included; 0 where the text has no words

    The metadata names everything that must be equal for two signatures to be comparable.
    """
    scheme = (
        f"minhash affine32 seed={config.seed} shingle={config.shingle} "
        f"bands={config.bands} rows={config.rows} unicode={unicodedata.unidata_version}"
    )
    return pa.schema(
        [
            ("id", pa.string()),
            ("text_hash", pa.binary(16)),
            ("bands", pa.list_(pa.uint64(), config.bands)),
            ("signature", pa.binary(4 * config.num_perm)),
            ("shingles", pa.int32()),
        ],
        metadata={"dedup": scheme},
    )


def check_signatures(name: str, schema: pa.Schema, config: Config) -> None:
    """Raises ValueError naming the shard if it was not signed with `config`, or with other Unicode tables."""
    expected = signatures_schema(config)
    for field in expected:
        if field.name not in schema.names or schema.field(field.name).type != field.type:
            raise ValueError(f"{name}: no column {field.name} of type {field.type}: sign it with this configuration")
    signed, wanted = (schema.metadata or {}).get(b"dedup"), expected.metadata[b"dedup"]
    if signed is not None and signed != wanted:
        raise ValueError(f"{name}: signed as {signed.decode()!r}, expected {wanted.decode()!r}: sign it again")


# What `cluster` answers for each document, in the documents' order.
LABELS = pa.schema(
    [
        ("id", pa.string()),
        ("keep", pa.bool_()),
        ("cluster_id", pa.int64()),  # row number, over all shards in order, of the document that is kept
        ("cluster_size", pa.int32()),  # documents in the cluster, the kept one included
        ("representative", pa.string()),  # id of the kept document
        ("rule", pa.string()),  # null, dedup.exact or dedup.minhash
        ("value", pa.float64()),  # estimated Jaccard similarity to the representative; null where kept
        ("threshold", pa.float64()),  # 1.0 or Config.threshold; null where kept
    ]
)
