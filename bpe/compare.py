"""How well tokenizers suit a corpus: bytes a token, tokens a word and a document, overlap, tokens that never occur.

In goes a corpus as batches of texts, each text with the name of its group (its language), out come figures. The corpus
is read once. In memory are a count for each token and a few totals for each group, never the ids.

A word is a run of characters without white space (as Unicode defines it). So tokens a word says little about languages
that are written without spaces, such as Chinese: compare their bytes a token.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bpe.checksums import open_parquet
from bpe.colours import visible
from bpe.encode import Encoder
from bpe.sources import TEXT_ENDINGS, checked, read_texts
from bpe.texts import no_text, strings_of, utf8
from bpe.vocabulary import Vocabulary

LANGUAGE = "language"  # the column of the groups, unless another is named
ALL = ""  # the group of texts that name none
EXAMPLES = 8  # tokens shown of a kind
ROWS = 4096  # of a batch
WORD = r"[^\s\v\pZ\x{85}]+"  # all but Unicode's White_Space; RE2's \s is [\t\n\f\r ] only


class Batch(NamedTuple):
    """Texts and the group of each, as string arrays without nulls. Without `is_start`, they continue a document."""

    texts: pa.Array
    groups: pa.Array
    is_start: bool


class Usage(NamedTuple):
    """The counts of a corpus.

    `totals[group]` is [documents, bytes, words, tokens of the first tokenizer, of the second, ...].
    `times[tokenizer][id]` is how often the tokenizer made the token (int64).
    """

    totals: dict[str, NDArray[np.int64]]
    times: list[NDArray[np.int64]]


def count(encoders: Sequence[Encoder], batches: Iterable[Batch]) -> Usage:
    """Encode every text with every encoder and count. Raises ValueError if there is no text at all."""
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
            sums = [int(column[codes == code].sum()) for column in columns]
            totals[group] = totals.get(group, 0) + np.array(sums, np.int64)
    if not sum(int(row[1]) for row in totals.values()):
        raise ValueError("there is no text to compare on: check the data and its column")
    return Usage(totals, times)


def figures(names: Sequence[str], vocabularies: Sequence[Vocabulary], usage: Usage, by: str) -> dict[str, Any]:
    """What `bpe compare --json` prints: a record for each tokenizer, for each group and for each two tokenizers.

    A ratio with a divisor of 0 is None. The examples of tokens that only one tokenizer has are its most used ones. The
    examples of tokens that never occur are the first by id, without single bytes.
    """
    rows = sorted(usage.totals.items(), key=lambda item: (-item[1][1], item[0]))
    groups = [{by: group or None} | _ratios(row) for group, row in rows]
    used = [Used(*one) for one in zip(names, vocabularies, usage.times, strict=True)]
    return {
        "tokenizers": [_tokenizer(one) for one in used],
        "all": _ratios(sum((row for _, row in rows), np.zeros(1, np.int64))),
        "groups": groups if len(groups) > 1 or rows[0][0] != ALL else [],
        "overlap": [_overlap(a, b) for a, b in itertools.combinations(used, 2)],
    }


def compare_texts(
    vocabularies: Mapping[str, Vocabulary], texts: Iterable[Any] | Mapping[str, Iterable[Any]]
) -> dict[str, Any]:
    """`figures` of vocabularies by name on texts in memory, strings or string arrays, or on groups of them by name.

    Raises TypeError for an item that is no text, and ValueError if there is no text at all.
    """
    groups = texts if isinstance(texts, Mapping) else {ALL: texts}
    encoders = [Encoder(vocabulary) for vocabulary in vocabularies.values()]
    usage = count(encoders, itertools.chain.from_iterable(_text_batches(*group) for group in groups.items()))
    return figures(list(vocabularies), list(vocabularies.values()), usage, "group")


def _text_batches(group: str, texts: Iterable[Any]) -> Iterator[Batch]:
    strings = (text for text in _strings(texts) if text is not None)
    while chunk := list(itertools.islice(strings, ROWS)):
        yield _batch(chunk, [group] * len(chunk))


def read_batches(
    files: Iterable[Path], column: str, by: str | None, limit: int | None, errors: str = "strict"
) -> Iterator[Batch]:
    """The texts of the files, grouped by the column `by`, until `limit` bytes of text have been read.

    A null text is no document, a null group is ALL. A text file is one document. With `by=None` the groups are the
    languages of a file that has the column. Raises ValueError naming the file for a column that is missing, and for
    bytes that are not UTF-8 unless `errors` is "replace".
    """
    read = 0
    for file in files:
        for batch in _batches(file, column, by, errors):
            sizes = pc.binary_length(batch.texts).to_numpy(zero_copy_only=False)
            before = read + np.cumsum(sizes) - sizes
            if limit is not None and len(before) and int(before[-1]) >= limit:
                rows = int(np.searchsorted(before, limit))
                yield Batch(batch.texts[:rows], batch.groups[:rows], batch.is_start)
                return
            read += int(sizes.sum())
            yield batch


def _batches(file: Path, column: str, by: str | None, errors: str) -> Iterator[Batch]:
    if file.name.endswith(".parquet"):
        yield from _parquet_batches(file, column, by, errors)
    elif file.name.endswith(TEXT_ENDINGS):
        for i, text in enumerate(_strings(read_texts([file], errors=errors))):
            yield _batch([text], [ALL], is_start=i == 0)
    else:
        texts = _strings(read_texts([file], column, errors=errors))
        named = _has_field(file, by, errors)
        groups = _strings(read_texts([file], by or LANGUAGE, errors=errors)) if named else itertools.repeat(ALL)
        rows = ((text, group or ALL) for text, group in zip(texts, groups, strict=False) if text is not None)
        while chunk := list(itertools.islice(rows, ROWS)):
            yield _batch([text for text, _ in chunk], [group for _, group in chunk])


def _batch(texts: list[str], groups: list[str], is_start: bool = True) -> Batch:
    return Batch(pa.array(map(utf8, texts), pa.large_binary()).cast(pa.large_string()), pa.array(groups), is_start)


def _has_field(file: Path, by: str | None, errors: str) -> bool:
    """Whether the first JSON line has the field of the groups. Raises ValueError if `by` names it and it is missing."""
    try:
        next(_strings(read_texts([file], by or LANGUAGE, errors=errors)), None)
    except ValueError:
        if by:
            raise
        return False
    return True


def _strings(texts: Iterable[Any]) -> Iterator[str]:
    for item in texts:
        if not isinstance(item, str | pa.Array | pa.ChunkedArray):
            raise no_text(item)
        yield from [item] if isinstance(item, str) else strings_of("texts", item).to_pylist()


def _parquet_batches(file: Path, column: str, by: str | None, errors: str) -> Iterator[Batch]:
    with file.open("rb") as stream:
        try:
            parquet = open_parquet(stream)
            present = parquet.schema_arrow.names
            for name in filter(None, (column, by)):
                if name not in present:
                    raise ValueError(f"{file}: no column {name!r}, only {', '.join(present)}")
            group = by or (LANGUAGE if LANGUAGE in present else None)
            for batch in parquet.iter_batches(ROWS, columns=[column, group] if group else [column], use_threads=False):
                texts = checked(batch.column(column), file, errors)
                groups = batch.column(group).cast(pa.string()) if group else pa.array([ALL] * len(texts), pa.string())
                kept = pc.is_valid(texts)
                texts = texts.filter(kept).cast(pa.large_string())
                yield Batch(texts, pc.fill_null(groups.filter(kept), ALL), True)
        except (pa.ArrowException, OSError) as error:
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


class Used(NamedTuple):
    """A tokenizer and how often it made each of its tokens."""

    name: str
    vocabulary: Vocabulary
    times: NDArray[np.int64]


def _tokenizer(one: Used) -> dict[str, Any]:
    vocabulary, times, tokens = one.vocabulary, one.times, one.vocabulary.tokens
    ordinary = [token_id for token_id, token in enumerate(tokens) if token]
    dead = [token_id for token_id in ordinary if not times[token_id]]
    used = [token_id for token_id in ordinary if times[token_id]]
    return {
        "name": one.name,
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


def _overlap(a: Used, b: Used) -> dict[str, Any]:
    of_a, of_b = ({token for token in one.vocabulary.tokens if token} for one in (a, b))
    shared = len(of_a & of_b)
    return {
        "a": a.name,
        "b": b.name,
        "shared": shared,
        "jaccard": _ratio(shared, len(of_a | of_b)),
        "only_a": {"count": len(of_a) - shared, "examples": _most_used(a, of_b)},
        "only_b": {"count": len(of_b) - shared, "examples": _most_used(b, of_a)},
    }


def _most_used(one: Used, others: set[bytes]) -> list[dict[str, Any]]:
    """The most used tokens that are not in `others`."""
    tokens = one.vocabulary.tokens
    by_use = np.argsort(-one.times[: len(tokens)], kind="stable").tolist()
    own = (i for i in by_use if tokens[i] and tokens[i] not in others)
    return _examples(tokens, list(itertools.islice(own, EXAMPLES)))


def _examples(tokens: Sequence[bytes], ids: Sequence[int]) -> list[dict[str, Any]]:
    return [{"id": token_id, "token": visible(tokens[token_id])} for token_id in ids[:EXAMPLES]]


def report(figures: dict[str, Any], by: str) -> str:
    """The figures as text: a table with a row for each group, then overlap, tokens that never occur, longest tokens."""
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
    # Each block of columns has a title and is at least as wide.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    titles = [ratio.replace("_", " ") for ratio in ratios]
    for block, title in enumerate(titles):
        first = 3 + block * len(letters)
        missing = len(title) - sum(widths[first : first + len(letters)]) - 2 * (len(letters) - 1)
        widths[first] += max(missing, 0)
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
