"""Deduplication of a list of texts in memory: the steps of the passes, without their files.

In: texts, in the order of the documents of a corpus. Out: their signatures, and for each text that goes, the text that
stays in its place. The decisions are those of `corpus dedup` for documents with these texts in this order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bpe import arguments
from bpe.texts import SEVERAL_TEXTS, strings_of, utf8
from corpus.dedup.candidates import blocks_of, candidates
from corpus.dedup.components import components
from corpus.dedup.config import Config
from corpus.dedup.exchange import edges_in_memory
from corpus.dedup.keys import fixed_width, keys
from corpus.dedup.labels import decide
from corpus.dedup.signatures import sign
from corpus.run.recipe import step_with
from corpus.store.shards import ROW_GROUP

# The columns of DOCUMENTS that deduplication reads. All but the text are null: the order of the texts decides.
_DOCUMENTS = pa.schema(
    [*((name, pa.string()) for name in ("id", "dump", "file_path", "text")), ("warc_offset", pa.int64())]
)


class Duplicate(NamedTuple):
    """A text that goes, and the text that stays in its place; both are indices of the texts that were given.

    dropped     the text that goes
    kept        the text that stays
    similarity  Jaccard similarity of the sets of word n-grams, 1.0 for equal texts
    rule        "dedup.exact" (equal but for case and white space), "dedup.minhash", or if unverified "dedup.chain": a
                chain of other texts connects the two, or they are similar only without numbers and punctuation

    >>> from corpus import Duplicate
    >>> Duplicate(dropped=2, kept=0, similarity=0.9, rule="dedup.minhash").kept
    0
    """

    dropped: int
    kept: int
    similarity: float
    rule: str


def minhash_signatures(texts: Iterable[str], **settings: Any) -> NDArray[np.uint32]:
    """MinHash signatures of texts over word n-grams: uint32[texts, bands * rows].

    texts     strings, or an Arrow array of strings without nulls; a lone surrogate counts as U+FFFD
    settings  settings of [dedup] by their names: ngram=5, bands=22, rows=5, seed=1 (the defaults)

    The share of equal numbers in two rows estimates the Jaccard similarity of the two sets of n-grams (Broder 1997). A
    row is that of `datasketch.MinHash(num_perm=bands * rows, seed=seed, scheme="affine32")`. Case, accents and
    punctuation make no difference. Raises ValueError naming a setting that is wrong, TypeError for what is no text.

    >>> from corpus import minhash_signatures
    >>> signatures = minhash_signatures(["The ship came home at dawn.", "the ship came home, at dawn", "A day off"])
    >>> signatures.shape, signatures.dtype
    ((3, 110), dtype('uint32'))
    >>> float((signatures[0] == signatures[1]).mean()), float((signatures[0] == signatures[2]).mean())
    (1.0, 0.0)
    """
    config: Config = step_with("dedup", settings).config
    if not config.minhash:
        raise ValueError("minhash = False: signatures are what it switches off; leave it on")
    rows = [fixed_width(sign(batch, config).column("signature"), np.uint32) for batch in text_batches(texts)]
    return np.concatenate([np.empty((0, config.num_perm), np.uint32), *rows])


def near_duplicates(texts: Iterable[str], *, threshold: float = 0.75, **settings: Any) -> list[Duplicate]:
    """The texts that duplicate a text which stays, in order: what `corpus dedup` drops of documents with these texts.

    texts      strings, or an Arrow array of strings without nulls; a lone surrogate counts as U+FFFD
    threshold  Jaccard similarity of the sets of word n-grams from which a text goes; every similarity is computed
    settings   other settings of [dedup] by their names: ngram=3, keep="first", exact=False, preset="fineweb"

    Equal texts go too, unless exact=False. The longest of similar texts stays, of equally long ones the first; with
    keep="first", the first. In memory are the signatures, and the n-grams of the texts that may have a duplicate: some
    1 kB a text. MinHash: Broder 1997; the bands: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, chapter 3.
    Raises ValueError naming a setting that is wrong, TypeError for what is no text.

    >>> from corpus import near_duplicates
    >>> texts = ["The ship came home to the old harbour at dawn.", "A day off.",
    ...          "the ship came home to the old harbour at DAWN."]
    >>> near_duplicates(texts)
    [Duplicate(dropped=2, kept=0, similarity=1.0, rule='dedup.exact')]
    >>> dropped = {duplicate.dropped for duplicate in near_duplicates(texts)}
    >>> [text for index, text in enumerate(texts) if index not in dropped]
    ['The ship came home to the old harbour at dawn.', 'A day off.']
    """
    config: Config = step_with("dedup", {"threshold": threshold, **settings}).config
    if config.score_column:
        raise ValueError(f"keep = {config.keep!r}: should be longest or first, because texts have no such column")
    documents = text_batches(texts)
    signatures = [sign(batch, config) for batch in documents]
    rows = sum(batch.num_rows for batch in documents)
    starts = np.cumsum([0, *(batch.num_rows for batch in documents)]).astype(np.uint32)
    found = [keys(batch, config) for batch in signatures]
    edges = edges_in_memory((numbers, rows + start) for (numbers, rows), start in zip(found, starts, strict=False))
    root = components(rows, [edges])
    sizes = np.bincount(root, minlength=rows).astype(np.int32)
    blocks = pa.Table.from_batches([blocks_of(root, sizes, 0, rows)])
    decided = decide(list(candidates(documents, signatures, blocks, 0, config)), config).decisions
    dropped = decided.filter(pc.invert(decided.column("keep")))
    columns = (dropped.column(name).to_pylist() for name in ("row", "cluster_id", "similarity", "rule"))
    return [Duplicate(*row) for row in zip(*columns, strict=True)]


def text_batches(texts: Iterable[str]) -> list[pa.RecordBatch]:
    """Batches of documents with these texts and nothing else. Raises TypeError for what is no text."""
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        column = strings_of("texts", texts)
        if column.null_count:
            raise TypeError("texts holds a null: pass strings; texts.fill_null('') turns nulls into empty texts")
    else:
        items = arguments.several("texts", texts, SEVERAL_TEXTS)
        contents = [utf8(arguments.string(f"texts[{index}]", text)) for index, text in enumerate(items)]
        column = pa.array(contents, pa.large_binary()).cast(pa.large_string())
    whole = pa.table({"text": column})
    for name in _DOCUMENTS.names:
        if name != "text":
            whole = whole.append_column(name, pa.nulls(len(whole), _DOCUMENTS.field(name).type))
    batches: list[pa.RecordBatch] = whole.to_batches(ROW_GROUP)
    return batches
