"""The stage `scrub`: personal data masked in three styles, counted in the commit record, shown without its values."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.config import check
from corpus.pii import audit, scrub
from corpus.pii.masks import EMAILS, IPV4
from corpus.pii.scrub import TYPES, Config, Span, find, mask, process
from corpus.run.recipe import make_step
from corpus.schema import DOCUMENTS
from corpus.store.shards import Dataset
from tests.support.command import answer, commit_documents, inside
from tests.support.pii_texts import ALL, PUBLIC, TEXTS

TAGS = Config(style="tags", ip_scope="all")


@pytest.fixture(scope="module")
def hashed(tmp_path_factory: pytest.TempPathFactory) -> Config:
    key = tmp_path_factory.mktemp("key") / "secret.key"
    key.write_bytes(bytes(range(32)))
    return Config(style="hash", hash_key=str(key), ip_scope="all")


@given(TEXTS, st.sampled_from([PUBLIC, ALL, Config(types=("phone", "ip"))]))
def test_spans_are_in_order_without_overlaps_and_match_their_text(text: str, config: Config) -> None:
    spans = find(text, config)
    assert all(text[span.start : span.end] == span.text and span.type in config.types for span in spans)
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))
    assert spans == find(text, config)


@given(TEXTS)
def test_a_line_before_or_after_changes_nothing(text: str) -> None:
    spans = find(text, ALL)
    line = "Nothing to see here, and nothing that would announce a number of any kind.\n"
    moved = [Span(s.start + len(line), s.end + len(line), s.type, s.text) for s in spans]
    assert find(line + text, ALL) == moved
    assert find(text + "\n" + line, ALL) == spans


@given(TEXTS)
@example("a@b.c.d.e.f.g.h.i.j.k.com")
@example("312 500 2000 (212) 555-0199 150")
@example("Tel. 030 1234567 a@b.example 030 7654321")
def test_masking_twice_is_masking_once(hashed: Config, text: str) -> None:
    for config in (ALL, TAGS, hashed):
        once = mask(text, find(text, config), config)
        assert mask(once, find(once, config), config) == once


@given(TEXTS)
def test_text_between_spans_stays(text: str) -> None:
    spans = find(text, TAGS)
    expected = text
    for span in reversed(spans):
        expected = expected[: span.start] + f"<{span.type.upper()}>" + expected[span.end :]
    assert mask(text, spans, TAGS) == expected
    assert spans or mask(text, spans, TAGS) is text or mask(text, spans, TAGS) == text


@given(st.text(st.characters(), max_size=60) | st.text("+0123456789@.:-() \x00\ud800é٠電話tel", max_size=80))
def test_no_text_makes_masking_raise(text: str) -> None:
    for config in (PUBLIC, ALL):
        mask(text, find(text, config), config)
    list(audit.rows(text, find(text, ALL)))


def documents(texts: list[str | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"text": text, "id": str(i)} for i, text in enumerate(texts)], schema=DOCUMENTS)


def test_process_masks_and_counts() -> None:
    texts = ["Write to a@b.example or c@d.example, 212-555-0199 from 8.8.8.8", "nothing", None, ""]
    kept, dropped, _, sums, shown, _ = process(documents(texts), Config(style="tags"))
    assert kept.schema.equals(DOCUMENTS.append(scrub.PII_SPANS))
    masked = "Write to <EMAIL> or <EMAIL>, <PHONE> from <IP>"
    assert kept.column("text").to_pylist() == [masked, "nothing", None, ""]
    assert kept.column("pii_spans").to_pylist() == [4, 0, 0, 0]
    assert dropped.num_rows == 0
    assert {name: count for name, count in sums.items() if count} == {"pii_email": 2, "pii_phone": 1, "pii_ip": 1}
    assert shown is None
    again = process(kept, Config(style="tags")).kept
    assert again.column("text").equals(kept.column("text"))


def test_fineweb_style_gives_a_value_its_replacement_wherever_it_stands() -> None:
    people = [f"p{i}@b.example" for i in range(40)]
    hosts = [f"8.8.{i}.200" for i in range(60)]
    texts = process(documents([f"{value} wrote" for value in people + hosts]), Config()).kept["text"].to_pylist()
    written = [text.removesuffix(" wrote") for text in texts]
    assert set(written[:40]) == set(EMAILS)
    assert set(written[40:]) == set(IPV4)
    turned = process(documents([f"{value} wrote" for value in reversed(people + hosts)]), Config()).kept["text"]
    assert turned.to_pylist() == texts[::-1]


def test_hash_style_gives_equal_values_equal_pseudonyms(hashed: Config, tmp_path: Path) -> None:
    def pseudonym(text: str, config: Config = hashed) -> str:
        return mask(text, find(text, config), config)

    assert pseudonym("A@b.example") == pseudonym("a@B.example") != pseudonym("c@b.example")
    assert pseudonym("+49 30 1234567") == pseudonym("+49-30-1234567")
    assert pseudonym("+49 30 1234567").startswith("<PHONE:")
    assert not any(c.isdigit() for c in pseudonym("+49 30 1234567"))
    (tmp_path / "other.key").write_bytes(bytes(range(1, 33)))
    other = Config(style="hash", hash_key=str(tmp_path / "other.key"))
    assert pseudonym("a@b.example", other) != pseudonym("a@b.example")


def test_settings_are_checked(tmp_path: Path) -> None:
    text = ["a@b.example 212-555-0199 2606:4700:4700::1111"]
    config = check(Config(types=("email", "ip"), style="tags"))
    assert process(documents(text), config).kept.column("text").to_pylist() == ["<EMAIL> 212-555-0199 <IP>"]
    assert process(documents(text), Config(types=())).kept.column("text").to_pylist() == text
    with pytest.raises(ValueError, match="types = 'fax'"):
        check(Config(types=("fax",)))
    with pytest.raises(ValueError, match="hash_key: style hash needs a key"):
        make_step("scrub", {"style": "hash"})
    short = tmp_path / "short.key"
    short.write_bytes(b"secret")
    with pytest.raises(ValueError, match=r"hash_key = .* is the key of style hash, not of tags"):
        make_step("scrub", {"style": "tags", "hash_key": str(short)})
    with pytest.raises(ValueError, match="hash_key: the file has 6 bytes"):
        process(documents(text), Config(style="hash", hash_key=str(short)))


@given(st.lists(TEXTS, max_size=6), st.integers(0, 6))
def test_a_document_does_not_depend_on_its_neighbours(texts: list[str], cut: int) -> None:
    batch = documents(list(texts))
    parts = [process(batch.slice(0, cut), ALL).kept, process(batch.slice(cut), ALL).kept]
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([process(batch, ALL).kept]))


@given(TEXTS)
def test_an_audit_shows_no_value(text: str) -> None:
    spans = find(text, ALL)
    rows = list(audit.rows(text, spans))
    assert [(row["start"], row["end"], row["type"]) for row in rows] == [(s.start, s.end, s.type) for s in spans]
    for span, row in zip(spans, rows, strict=True):
        assert f"<{span.type.upper()}>" in row["context"]
        assert set(row["shape"]) <= set("a9? +-._@/():[]'\"%")
    masked = mask(text, spans, TAGS)
    assert all(row["context"] in masked for row in rows)


def test_shapes() -> None:
    assert audit.shape("+49 30 1234567") == "+99 99 99999999"
    assert audit.shape("jo.li@mail.example") == "aa.aa@aaaa.aaaaaaaa"


def test_the_command_masks_counts_and_shows(tmp_path: Path) -> None:
    texts = ["Ask a@b.example or 212-555-0199.", "nothing", "c@d.example: +49 30 1234567"]
    commit_documents(tmp_path / "docs", texts)
    arguments = ["scrub", tmp_path / "docs", "-o", tmp_path / "clean", "--style", "tags", "--audit"]
    answer("corpus", *arguments)
    dataset = Dataset(tmp_path / "clean")
    (record,) = dataset.records()
    assert record.counts[-1]["pii_email"] == 2
    assert record.counts[-1]["pii_phone"] == 2
    assert record.counts[-1]["pii_iban"] == 0
    output = record.output("audit")
    assert output
    shown = pq.read_table(tmp_path / "clean" / output.path)
    assert output.path.startswith("audit/")
    assert shown.schema.equals(audit.SCHEMA)
    assert shown["type"].to_pylist() == ["email", "phone", "email", "phone"]
    assert shown["context"][0].as_py() == "Ask <EMAIL> or <PHONE>."
    assert "a@b.example" not in json.dumps(shown.to_pylist())
    assert "2 email, 2 phone" in inside("corpus", "report", tmp_path / "clean").stdout
    assert inside("corpus", "verify", tmp_path / "clean").returncode == 0
    report = answer("corpus", "report", tmp_path / "clean")
    assert report["stages"][-1]["sums"]["pii_email"] == 2
    assert set(report["stages"][-1]["sums"]) == {f"pii_{kind}" for kind in TYPES}


def test_the_command_asks_for_a_key(tmp_path: Path) -> None:
    commit_documents(tmp_path / "docs", ["one"])
    arguments = ["scrub", tmp_path / "docs", "-o", tmp_path / "clean", "--style", "hash"]
    assert "hash_key: style hash needs a key" in inside("corpus", *arguments, code=2).stderr
    key = tmp_path / "secret.key"
    key.write_bytes(b"a key that nobody is to see")
    inside("corpus", *arguments, "--hash-key", key)
    for path in (tmp_path / "clean").rglob("*.json"):
        assert "nobody is to see" not in path.read_text()
        assert str(key) not in path.read_text()
    missing = [*arguments, "--hash-key", tmp_path / "none"]
    assert "no such file" in inside("corpus", *missing, code=2).stderr
