"""How well tokenizers suit a corpus: bytes a token, tokens a word and a document, overlap, tokens that never occur.

In goes a corpus as batches of texts with the name of a group each (their language), out come figures. One pass; what
is kept is a count for each token and a handful of totals for each group, never the ids.

A word is a run of characters without white space (Unicode's). So tokens a word says little about languages that write
none, such as Chinese: there compare bytes a token.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bpe.colours import visible
from bpe.encode import Encoder
from bpe.sources import TEXT_ENDINGS, read_texts
from bpe.texts import utf8
from bpe.vocabulary import Vocabulary

LANGUAGE = "language"  # the column that texts are grouped by where they have it
ALL = ""  # the group of texts for which none is named
EXAMPLES = 8
ROWS = 4096
WORD = r"[^\s\v\pZ\x{85}]+"  # what is not White_Space in Unicode; RE2's \s has [\t\n\f\r ] alone


class Batch(NamedTuple):
    """Texts and the group of each, string arrays without nulls; not `is_start`: a document goes on in them."""

    texts: pa.Array
    groups: pa.Array
    is_start: bool


class Usage(NamedTuple):
    """What was counted: `totals[group] = [documents, bytes, words, tokens of the first tokenizer, of the second, ...]`;
    `times[tokenizer][id]`: how often each token was produced, int64."""

    totals: dict[str, NDArray[np.int64]]
    times: list[NDArray[np.int64]]


def count(encoders: Sequence[Encoder], batches: Iterable[Batch]) -> Usage:
    """Encode every text with every encoder and add up. Raises ValueError if there is no text at all."""
    totals: dict[str, NDArray[np.int64]] = {}
    times = [np.zeros(encoder.vocabulary.size, np.int64) for encoder in encoders]
    for texts, groups, is_start in batches:
        columns = [
            np.full(len(texts), is_start, np.int64),
            pc.binary_length(texts).to_numpy(zero_copy_only=False),
            pc.count_substring_regex(texts, WORD).to_numpy(zero_copy_only=False),
        ]
        for encoder, counts in zip(encoders, times, strict=True):
            offsets, ids = encoder.encode_batch(texts)
            counts += np.bincount(ids, minlength=len(counts))
            columns.append(np.diff(offsets))
        encoded = pc.dictionary_encode(groups)
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        for code, group in enumerate(encoded.dictionary.to_pylist()):
            here = [int(column[codes == code].sum()) for column in columns]
            totals[group] = totals.get(group, 0) + np.array(here, np.int64)
    if not sum(int(row[1]) for row in totals.values()):
        raise ValueError("there is no text to compare on: check the data and its column")
    return Usage(totals, times)


def figures(names: Sequence[str], vocabularies: Sequence[Vocabulary], usage: Usage, by: str) -> dict[str, Any]:
    """What `bpe compare --json` prints: a record for each tokenizer, for each group of texts and each two tokenizers.

    A ratio is None where there is nothing to divide by. Examples of tokens that one tokenizer alone has are those
    that it used most here; examples of dead tokens are the first by id, single bytes left out.
    """
    rows = sorted(usage.totals.items(), key=lambda item: (-item[1][1], item[0]))
    groups = [{by: group or None} | _ratios(row) for group, row in rows]
    counted = list(zip(names, vocabularies, usage.times, strict=True))
    return {
        "tokenizers": [_tokenizer(*one) for one in counted],
        "all": _ratios(sum((row for _, row in rows), np.zeros(1, np.int64))),
        "groups": groups if len(groups) > 1 or rows[0][0] != ALL else [],
        "overlap": [_overlap(a, b) for a, b in itertools.combinations(counted, 2)],
    }


def read_batches(files: Iterable[Path], column: str, by: str | None, limit: int | None) -> Iterator[Batch]:
    """The texts of the files with the value of column `by`, until `limit` bytes of text have been read.

    A null text counts as no document, a null group as one without a name; a text file is one document. `by=None`
    groups by `language` where a file has it. Raises ValueError naming the file for a column that is not there.
    """
    read = 0
    for file in files:
        for batch in _batches(file, column, by):
            sizes = pc.binary_length(batch.texts).to_numpy(zero_copy_only=False)
            before = read + np.cumsum(sizes) - sizes
            if limit is not None and len(before) and int(before[-1]) >= limit:
                rows = int(np.searchsorted(before, limit))
                yield Batch(batch.texts[:rows], batch.groups[:rows], batch.is_start)
                return
            read += int(sizes.sum())
            yield batch


def _batches(file: Path, column: str, by: str | None) -> Iterator[Batch]:
    if file.name.endswith(".parquet"):
        yield from _parquet_batches(file, column, by)
    elif file.name.endswith(TEXT_ENDINGS):
        for i, text in enumerate(_strings(read_texts([file]))):
            yield _batch([text], [ALL], is_start=i == 0)
    else:
        texts = _strings(read_texts([file], column))
        groups = _strings(read_texts([file], by or LANGUAGE)) if _has_field(file, by) else itertools.repeat(ALL)
        rows = zip(texts, groups, strict=False)
        while rows_here := list(itertools.islice(rows, ROWS)):
            yield _batch([text for text, _ in rows_here], [group for _, group in rows_here])


def _batch(texts: list[str], groups: list[str], is_start: bool = True) -> Batch:
    return Batch(pa.array(map(utf8, texts), pa.large_binary()).cast(pa.large_string()), pa.array(groups), is_start)


def _has_field(file: Path, by: str | None) -> bool:
    """Whether the first JSON line has the field. Raises ValueError if it was asked for by name and is missing."""
    try:
        next(_strings(read_texts([file], by or LANGUAGE)), None)
    except ValueError:
        if by:
            raise
        return False
    return True


def _strings(texts: Iterable[Any]) -> Iterator[str]:
    for item in texts:
        yield from [item] if isinstance(item, str) else item.to_pylist()


def _parquet_batches(file: Path, column: str, by: str | None) -> Iterator[Batch]:
    try:
        with pq.ParquetFile(file) as parquet:
            present = parquet.schema_arrow.names
            for name in filter(None, (column, by)):
                if name not in present:
                    raise ValueError(f"{file}: no column {name!r}, only {', '.join(present)}")
            group = by or (LANGUAGE if LANGUAGE in present else None)
            for batch in parquet.iter_batches(ROWS, columns=[column, group] if group else [column]):
                texts = batch.column(column)
                groups = batch.column(group).cast(pa.string()) if group else pa.array([ALL] * len(texts), pa.string())
                kept = pc.is_valid(texts)
                texts = texts.filter(kept).cast(pa.large_string())
                yield Batch(texts, pc.fill_null(groups.filter(kept), ALL), True)
    except pa.ArrowException as error:
        raise ValueError(f"{file}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def _ratios(row: NDArray[np.int64]) -> dict[str, Any]:
    documents, size, words, *tokens = map(int, row)
    return {
        "documents": documents,
        "bytes": size,
        "words": words,
        "tokens": tokens,
        "bytes_a_token": [_ratio(size, count) for count in tokens],
        "tokens_a_word": [_ratio(count, words) for count in tokens],
        "tokens_a_document": [_ratio(count, documents) for count in tokens],
    }


def _ratio(amount: int, by: int) -> float | None:
    return round(amount / by, 4) if by else None


def _tokenizer(name: str, vocabulary: Vocabulary, times: NDArray[np.int64]) -> dict[str, Any]:
    tokens = vocabulary.tokens
    ordinary = [token_id for token_id, token in enumerate(tokens) if token]
    dead = [token_id for token_id in ordinary if not times[token_id]]
    used = [token_id for token_id in ordinary if times[token_id]]
    return {
        "name": name,
        "size": vocabulary.size,
        "pattern": vocabulary.pattern,
        "hash": vocabulary.hash,
        "dead": {
            "count": len(dead),
            "share": _ratio(len(dead), len(ordinary)),
            "examples": _examples(tokens, [token_id for token_id in dead if len(tokens[token_id]) > 1]),
        },
        "longest": _examples(tokens, sorted(used, key=lambda token_id: (-len(tokens[token_id]), token_id))),
    }


Counted = tuple[str, Vocabulary, NDArray[np.int64]]


def _overlap(a: Counted, b: Counted) -> dict[str, Any]:
    of_a, of_b = ({token for token in vocabulary.tokens if token} for _, vocabulary, _ in (a, b))
    shared = len(of_a & of_b)
    return {
        "a": a[0],
        "b": b[0],
        "shared": shared,
        "jaccard": _ratio(shared, len(of_a | of_b)),
        "only_a": {"count": len(of_a) - shared, "examples": _most_used(a, of_b)},
        "only_b": {"count": len(of_b) - shared, "examples": _most_used(b, of_a)},
    }


def _most_used(one: Counted, others: set[bytes]) -> list[dict[str, Any]]:
    """Examples of the tokens that `others` does not hold."""
    _, vocabulary, times = one
    by_use = np.argsort(-times[: len(vocabulary.tokens)], kind="stable").tolist()
    own = (i for i in by_use if vocabulary.tokens[i] and vocabulary.tokens[i] not in others)
    return _examples(vocabulary.tokens, list(itertools.islice(own, EXAMPLES)))


def _examples(tokens: Sequence[bytes], ids: Sequence[int]) -> list[dict[str, Any]]:
    return [{"id": token_id, "token": visible(tokens[token_id])} for token_id in ids[:EXAMPLES]]


def report(figures: dict[str, Any], by: str) -> str:
    """The figures for reading: a table with a row for each group, then overlap, dead and longest tokens."""
    letters = [chr(ord("A") + i) for i in range(len(figures["tokenizers"]))]
    lines = [
        f"{letter} = {one['name']} ({one['size']:,} ids, {_short(one['pattern'])})"
        for letter, one in zip(letters, figures["tokenizers"], strict=True)
    ]
    lines += ["", *_table(figures, by, letters), ""]
    for (a, b), pair in zip(itertools.combinations(letters, 2), figures["overlap"], strict=True):
        lines.append(f"{a} and {b} share {pair['shared']:,} tokens (Jaccard {pair['jaccard']:.3f})")
        for letter, side in ((a, pair["only_a"]), (b, pair["only_b"])):
            lines.append(f"  only {letter}: {side['count']:,}, most used: {_quoted(side['examples'])}")
    for letter, one in zip(letters, figures["tokenizers"], strict=True):
        dead = one["dead"]
        lines.append(f"{letter} never used {dead['count']:,} of its tokens ({dead['share']:.1%})")
        if dead["examples"]:
            lines.append(f"  first of them: {_quoted(dead['examples'])}")
        lines.append(f"  longest used: {_quoted(one['longest'])}")
    return "\n".join(lines)


def _table(figures: dict[str, Any], by: str, letters: list[str]) -> list[str]:
    ratios = ("bytes_a_token", "tokens_a_word", "tokens_a_document")
    head = [by, "documents", "MB", *(letter for _ in ratios for letter in letters)]
    rows = [head]
    groups = [(visible((group[by] or "(none)").encode()), group) for group in figures["groups"]]
    for name, group in [*groups, ("all", figures["all"])]:
        values = [_number(value) for ratio in ratios for value in group[ratio]]
        rows.append([name, f"{group['documents']:,}", f"{group['bytes'] / 1e6:,.2f}", *values])
    # A heading over each block of columns, which is made wide enough for it.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    titles = [ratio.replace("_", " ") for ratio in ratios]
    for block, title in enumerate(titles):
        first = 3 + block * len(letters)
        short = len(title) - sum(widths[first : first + len(letters)]) - 2 * (len(letters) - 1)
        widths[first] += max(short, 0)
    before = sum(widths[:3]) + 2 * 3
    blocks = [
        title.rjust(sum(widths[3 + i * len(letters) :][: len(letters)]) + 2 * (len(letters) - 1))
        for i, title in enumerate(titles)
    ]
    lines = [" " * before + "  ".join(blocks)]
    for row in rows:
        name, *cells = row
        right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *right]))
    return lines


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _quoted(examples: list[dict[str, Any]]) -> str:
    return "  ".join(f"'{_cut(example['token'])}'" for example in examples)


def _cut(token: str) -> str:
    return token if len(token) <= 24 else f"{token[:20]}… {len(token)}"


def _short(pattern: str) -> str:
    return pattern if len(pattern) <= 20 else "its own pattern"
