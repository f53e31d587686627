"""Counting pretokens against a dict, whatever the tables, threads, memory and special tokens."""

from __future__ import annotations

import re
import string
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bpe.count
from bpe.count import Pretokens, count_pretokens, cut_at_names
from bpe.encode import split
from bpe.kernels.count import SHORT
from bpe.patterns import PATTERNS
from bpe.spill import Spill
from bpe.texts import from_bytes
from tests.support.bpe_texts import texts

NAMES = ("<|a|>", "<|ab|>", "<|a|>b", "<")


def as_counter(found: Pretokens) -> Counter[bytes]:
    content, starts = found.content.tobytes(), found.starts.tolist()
    words = [content[a:b] for a, b in pairwise(starts)]
    assert len(set(words)) == len(words)
    return Counter(dict(zip(words, found.counts.tolist(), strict=True)))


def naive(documents: list[str], pattern: str, names: tuple[str, ...] = ()) -> Counter[bytes]:
    cut = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    parts = [part for document in documents for part in (re.split(cut, document) if names else [document])]
    return Counter(pretoken for part in parts for pretoken in split(part, pattern))


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=40)
@given(documents=st.lists(texts, max_size=5))
def test_pretokens_are_counted(pattern: str, documents: list[str]) -> None:
    assert as_counter(count_pretokens(documents, pattern)) == naive(documents, pattern)


@given(documents=st.lists(st.lists(st.sampled_from([*NAMES, "a", "|>", "<|", " ", "b", "é"])).map("".join), max_size=5))
def test_names_of_special_tokens_are_cut_out(documents: list[str]) -> None:
    for names in (NAMES, NAMES[:1], NAMES[2:]):
        found = count_pretokens(documents, "gpt2", special_tokens=names)
        assert as_counter(found) == naive(documents, "gpt2", names)


def test_no_name_reaches_into_the_next_document() -> None:
    run = from_bytes([b"", b"x<|", b"a|>", b"", b"<|a|>", b"", b"<|a|>y"])
    cut, skipped = cut_at_names(run, from_bytes([b"<|a|>"]))
    parts = [cut.content[a:b].tobytes() for a, b in pairwise(cut.offsets)]
    assert [part for part, skip in zip(parts, skipped, strict=True) if skip] == [b"<|a|>"] * 2
    assert b"".join(part for part, skip in zip(parts, skipped, strict=True) if not skip) == b"x<|a|>y"


@pytest.mark.parametrize("length", [1, 7, 8, 9, SHORT - 1, SHORT, SHORT + 1, 100])
def test_lengths_about_the_bounds_of_a_key(length: int) -> None:
    """Also where the buffer ends with the pretoken, and zeros must not be taken for nothing."""
    words = ["a" * length, "a" * (length - 1) + "b", "\0" * length, "\0" * (length - 1) + "a"]
    for word in words:
        assert as_counter(count_pretokens([word], "gpt2")) == naive([word], "gpt2")
    assert as_counter(count_pretokens(words, "gpt2")) == naive(words, "gpt2")


def many_words() -> list[str]:
    """40,000 different pretokens, some of them long, and one larger than the tables start with."""
    letters = str.maketrans(string.digits, "ghijklmnop")
    words = [" w" + format(number * 7919, "x").translate(letters) * (1 + number % 5) for number in range(40_000)]
    return ["".join(words), "z" * 600_000, "".join(words[:500])]


@pytest.fixture(scope="module")
def counted() -> Counter[bytes]:
    return Counter(re.findall(rb" ?\w+", "\n".join(many_words()).encode()))


def test_tables_grow(counted: Counter[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe.count, "RUN_BYTES", 1 << 16)
    assert as_counter(count_pretokens(many_words(), "gpt2")) == counted


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("memory", [None, 1 << 21, 1 << 18])
def test_counts_depend_on_neither_threads_nor_memory(
    threads: int, memory: int | None, counted: Counter[bytes], temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpe.count, "RUN_BYTES", 1 << 14)
    written = Counter[str]()
    write = Spill.write
    monkeypatch.setattr(Spill, "write", lambda *arguments: (written.update(["spilled"]), write(*arguments)))
    documents = [pa.array(many_words()[:1]), *many_words()[1:]] * 2
    found = as_counter(count_pretokens(documents, "gpt2", threads=threads, memory=memory))
    assert found == Counter({word: 2 * times for word, times in counted.items()})
    assert (written["spilled"] > 1) == (memory is not None)
    assert list(temporary.iterdir()) == []


def test_temporary_files_go_when_it_fails(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe.count, "RUN_BYTES", 1 << 14)

    def documents() -> Iterator[str]:
        yield from many_words()
        assert list(temporary.iterdir()) != []
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_pretokens(documents(), "gpt2", memory=1 << 18)
    assert list(temporary.iterdir()) == []


def test_rare_pretokens_are_left_out(counted: Counter[bytes]) -> None:
    for memory in (None, 1 << 18):
        found = as_counter(count_pretokens(many_words(), "gpt2", min_count=2, memory=memory))
        assert found == Counter({word: times for word, times in counted.items() if times > 1})


def test_a_regular_expression_splits(news: list[str]) -> None:
    found = as_counter(count_pretokens(news[:20], r"\w+|\W", special_tokens=("<|x|>",), threads=2))
    expected = Counter(word.encode() for document in news[:20] for word in re.findall(r"\w+|\W", document))
    assert found == expected


def test_counts_are_64_bits_wide() -> None:
    spill = Spill()
    counter = bpe.count.Counter(spill)
    counter.count(from_bytes([b"ab"]), "gpt2", from_bytes([]))
    counter.table.short[2::3] *= 2**40
    other = bpe.count.Counter(spill)
    other.add(counter.counted())
    other.add(counter.counted())
    assert int(other.counted().short[2::3].max()) == 2**41
    assert np.count_nonzero(other.counted().short) == 3
