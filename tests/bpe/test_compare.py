"""`bpe.compare`: its figures equal those of a loop over documents that holds everything."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.compare import ALL, LANGUAGE, Batch, count, figures, read_batches, report
from bpe.encode import Encoder
from bpe.vocabulary import BYTE_ORDER, Vocabulary
from tests.support.bpe_texts import texts

# https://www.unicode.org/Public/16.0.0/ucd/PropList.txt, White_Space
WHITE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
BYTES = tuple(bytes([byte]) for byte in BYTE_ORDER)


@pytest.fixture(scope="module")
def encoders(small: Vocabulary) -> list[Encoder]:
    few = Vocabulary((*BYTES, b"th", b" th", b"\xd0\xb5"), "gpt2", {})
    return [Encoder(small), Encoder(few)]


def words_in(text: str) -> int:
    for space in WHITE:
        text = text.replace(space, " ")
    return len([word for word in text.split(" ") if word])


def naive(encoders: list[Encoder], documents: list[tuple[str, str]]) -> dict[str, list[int]]:
    totals: dict[str, list[int]] = defaultdict(lambda: [0] * (3 + len(encoders)))
    for text, group in documents:
        row = [1, len(text.encode()), words_in(text), *(len(encoder.encode(text)) for encoder in encoders)]
        totals[group] = [old + new for old, new in zip(totals[group], row, strict=True)]
    return totals


documents = st.lists(st.tuples(texts, st.sampled_from(["en", "de", ""])), min_size=1, max_size=8)


@settings(max_examples=50)
@given(documents, st.integers(1, 3), st.text(alphabet=WHITE + "a\x1c\u200b", max_size=20))
def test_totals_and_uses_equal_a_loop_over_documents(
    encoders: list[Encoder], rows: list[tuple[str, str]], batch: int, spaces: str
) -> None:
    rows = [*((text.encode("utf-8", "replace").decode(), group) for text, group in rows), (f"x{spaces}", "en")]
    batches = [
        Batch(pa.array([text for text, _ in part]), pa.array([group for _, group in part]), True)
        for part in (rows[i : i + batch] for i in range(0, len(rows), batch))
    ]
    usage = count(encoders, batches)
    assert {group: row.tolist() for group, row in usage.totals.items()} == naive(encoders, rows)
    for encoder, times in zip(encoders, usage.times, strict=True):
        used = Counter(token_id for text, _ in rows for token_id in encoder.encode(text).tolist())
        assert dict(enumerate(times.tolist())) == {i: used[i] for i in range(encoder.vocabulary.size)}


ROWS = [("The first text.", "en"), ("Ein zweiter Text, länger", "de"), ("the third", "en"), ("", "en")]


def test_figures_of_a_small_corpus(encoders: list[Encoder]) -> None:
    few = encoders[1].vocabulary
    usage = count(encoders, [Batch(pa.array([t for t, _ in ROWS]), pa.array([g for _, g in ROWS]), True)])
    found = figures(["small", "few"], [encoder.vocabulary for encoder in encoders], usage, LANGUAGE)
    tokens = {group: row[3:] for group, row in naive(encoders, ROWS).items()}
    assert [row["language"] for row in found["groups"]] == ["de", "en"]  # the most bytes first
    german, english = found["groups"]
    assert german["bytes_a_token"] == [round(25 / count, 4) for count in tokens["de"]]
    assert english["tokens_a_word"] == [round(count / 5, 4) for count in tokens["en"]]
    assert english["tokens_a_document"] == [round(count / 3, 4) for count in tokens["en"]]
    assert found["all"]["documents"] == 4
    (pair,) = found["overlap"]
    shared = set(few.tokens) & set(encoders[0].vocabulary.tokens)
    assert pair["shared"] == len(shared)
    assert pair["only_b"]["count"] == len(few.tokens) - len(shared)
    assert pair["jaccard"] == round(len(shared) / len({*few.tokens, *encoders[0].vocabulary.tokens} - {b""}), 4)
    dead = found["tokenizers"][1]["dead"]
    used = {token_id for text, _ in ROWS for token_id in encoders[1].encode(text).tolist()}
    assert dead["count"] == len(few.tokens) - len(used)
    assert [example["token"] for example in dead["examples"]] == ["\u0435"]
    assert found["tokenizers"][1]["longest"][0]["token"] == " th"
    assert json.loads(json.dumps(found)) == found


def test_the_report_has_a_row_for_each_group(encoders: list[Encoder]) -> None:
    usage = count(encoders, [Batch(pa.array([t for t, _ in ROWS]), pa.array([g for _, g in ROWS]), True)])
    vocabularies = [encoder.vocabulary for encoder in encoders]
    lines = report(figures(["small", "few"], vocabularies, usage, LANGUAGE), LANGUAGE).splitlines()
    table = lines[3:8]
    assert [line.split()[0] for line in table[1:]] == ["language", "de", "en", "all"]
    assert len({len(line) for line in table}) == 1
    assert lines[0] == "A = small (1,000 ids, cl100k)"


def test_no_group_no_row(encoders: list[Encoder]) -> None:
    usage = count(encoders, [Batch(pa.array(["text"]), pa.array([ALL]), True)])
    found = figures(["small", "few"], [encoder.vocabulary for encoder in encoders], usage, LANGUAGE)
    assert found["groups"] == []
    assert [line.split()[0] for line in report(found, LANGUAGE).splitlines()[4:6]] == ["language", "all"]


def test_nothing_to_compare_on_is_an_error(encoders: list[Encoder]) -> None:
    with pytest.raises(ValueError, match="no text to compare on"):
        count(encoders, [])


def rows_of(files: list[Path], column: str = "text", by: str | None = None, limit: int | None = None) -> list[object]:
    batches = read_batches(files, column, by, limit)
    return [row for b in batches for row in zip(b.texts.to_pylist(), b.groups.to_pylist(), strict=True)]


def test_texts_and_their_groups_come_from_every_kind_of_file(tmp_path: Path) -> None:
    parquet, lines, plain = tmp_path / "a.parquet", tmp_path / "a.jsonl.gz", tmp_path / "a.txt"
    table = {"text": [t for t, _ in ROWS] + [None], "language": [g for _, g in ROWS[:-1]] + [None, "en"]}
    languages = pa.array(table["language"]).dictionary_encode()
    pq.write_table(pa.table({"text": table["text"], "language": languages}), parquet)
    lines.write_bytes(gzip.compress("".join(json.dumps({"text": t, "language": g}) + "\n" for t, g in ROWS).encode()))
    plain.write_text("A text\nof two lines\n")
    assert rows_of([parquet]) == [*ROWS[:3], ("", ALL)]
    assert rows_of([lines]) == ROWS
    assert rows_of([plain]) == [("A text\nof two lines\n", ALL)]
    assert rows_of([lines], by="text") == [(text, text) for text, _ in ROWS]
    assert rows_of([lines], column="language") == [(group, group) for _, group in ROWS]


def test_a_limit_ends_at_the_document_that_reaches_it(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(pa.table({"text": [t for t, _ in ROWS]}), tmp_path / name)
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    assert len(rows_of(files, limit=15)) == 1
    assert len(rows_of(files, limit=16)) == 2
    whole = sum(len(text.encode()) for text, _ in ROWS)
    assert len(rows_of(files, limit=whole)) == len(ROWS) - 1  # the last one is empty
    assert len(rows_of(files, limit=whole + 1)) == len(ROWS) + 1
    assert len(rows_of(files)) == 2 * len(ROWS)


def test_a_group_that_is_asked_for_and_missing_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    for name in ("a.parquet", "a.jsonl"):
        assert rows_of([tmp_path / name]) == [("a", ALL)]
        with pytest.raises(ValueError, match=f"{name}.*'source'"):
            rows_of([tmp_path / name], by="source")


def test_a_long_text_file_is_one_document(
    tmp_path: Path, encoders: list[Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a line\n" * 100)
    monkeypatch.setattr("bpe.sources.RUN_BYTES", 50)
    batches = list(read_batches([tmp_path / "a.txt"], "text", None, None))
    assert len(batches) > 1
    (row,) = count(encoders, batches).totals.values()
    assert np.array_equal(row[:3], [1, 700, 200])
