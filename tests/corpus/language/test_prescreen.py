"""The pre-screen: which pages it drops and keeps, and that its answer depends on the page alone."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.extract import stage as extract
from corpus.language import prescreen
from corpus.run.chain import Chain, Rows, Step
from corpus.run.recipe import in_force, make_step
from corpus.schema import DOCUMENTS, DROPPED, PAGES
from tests.support.works import NotingAttempt

ENGLISH = "The quick brown fox jumps over the lazy dog, and then it sleeps in the warm sun of the afternoon. " * 4
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund und schläft dann in der warmen Sonne. " * 4
RUSSIAN = "Быстрая коричневая лиса прыгает через ленивую собаку и потом спит на тёплом солнце до вечера. " * 4
JAPANESE = "すばやい茶色の狐はのろまな犬を飛び越えて、それから午後の暖かい日差しの中で眠ります。" * 8
EVERYTHING = prescreen.Config(languages=("en",), sample=0.0)


def html(text: str) -> str:
    return f"<!DOCTYPE html><html><head><title>x</title></head><body><nav>Home</nav><p>{text}</p></body></html>"


def pages(*bodies: bytes | None, charset: str | None = None) -> pa.RecordBatch:
    rows = [
        {"html": body, "id": f"<{n}>", "url": f"https://x.example/{n}", "warc_offset": n, "charset": charset}
        for n, body in enumerate(bodies)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=PAGES)


def utf8(*texts: str) -> pa.RecordBatch:
    return pages(*(html(text).encode() for text in texts))


def scores(batch: pa.RecordBatch) -> list[Any]:
    values: list[Any] = batch.column("prescreen_score").to_pylist()
    return values


def test_a_page_in_another_language_is_dropped_with_its_probability() -> None:
    kept, dropped, *_ = prescreen.process(utf8(GERMAN, ENGLISH, RUSSIAN), EVERYTHING)
    assert kept.schema == PAGES.append(prescreen.SCORE_FIELD)
    assert kept.column("id").to_pylist() == ["<1>"]
    assert 0.5 < scores(kept)[0] <= 1
    assert dropped.schema == DROPPED
    for row, number in zip(dropped.to_pylist(), (0, 2), strict=True):
        assert (row["id"], row["stage"], row["rule"]) == (f"<{number}>", "prescreen", "prescreen.language")
        assert (row["url"], row["warc_offset"]) == (f"https://x.example/{number}", number)
        assert 0 <= float(row["value"]) < 0.1 == float(row["threshold"])


def test_one_of_several_languages_is_enough() -> None:
    config = prescreen.Config(languages=("de", "ru"), sample=0.0)
    kept, dropped, *_ = prescreen.process(utf8(GERMAN, ENGLISH, RUSSIAN), config)
    assert (kept.column("id").to_pylist(), dropped.column("id").to_pylist()) == (["<0>", "<2>"], ["<1>"])


def test_a_page_that_is_too_short_to_judge_is_kept_without_a_score() -> None:
    short = GERMAN[:90]
    kept, *_ = prescreen.process(pages(html(short).encode(), b"", None, b"<p>", b"\xff\xfe"), EVERYTHING)
    assert scores(kept) == [None] * 5
    config = prescreen.Config(languages=("en",), sample=0.0, min_chars=50)
    assert prescreen.process(utf8(short), config).dropped.num_rows == 1


@pytest.mark.parametrize(
    ("text", "codec", "charset"),
    [
        (GERMAN, "latin_1", "ISO-8859-1"),
        (GERMAN, "latin_1", None),
        (GERMAN, "utf_16", None),
        (GERMAN, "utf_16_le", None),
        (GERMAN, "utf_16_be", None),
        (GERMAN, "utf_8_sig", None),
        (RUSSIAN, "cp1251", "windows-1251"),
        (RUSSIAN, "koi8_r", "koi8-r"),
        (JAPANESE, "cp932", "Shift_JIS"),
        (JAPANESE, "euc_jp", "EUC-JP"),
        (JAPANESE, "iso2022_jp", "ISO-2022-JP"),
    ],
)
def test_other_encodings_are_read_as_their_text(text: str, codec: str, charset: str | None) -> None:
    wanted = {GERMAN: "de", RUSSIAN: "ru", JAPANESE: "ja"}[text]
    body = html(text).encode(codec)
    config = prescreen.Config(languages=(wanted,), sample=0.0, line_chars=20)
    assert prescreen.snippet(body, charset, config) == prescreen.snippet(html(text).encode(), None, config)
    assert scores(prescreen.process(pages(body, charset=charset), config).kept)[0] > 0.5
    assert prescreen.process(pages(body, charset=charset), EVERYTHING).dropped.num_rows == 1


def test_the_sample_goes_on_with_its_score_and_is_chosen_by_the_id() -> None:
    batch = utf8(*[GERMAN] * 400)
    some, more = (prescreen.Config(languages=("en",), sample=share) for share in (0.1, 0.3))
    kept, dropped, _, sums, *_ = prescreen.process(batch, some)
    assert 20 <= kept.num_rows <= 60
    assert all(score < 0.1 for score in scores(kept))
    assert kept.num_rows + dropped.num_rows == 400
    assert sums == {"sampled": kept.num_rows}
    assert prescreen.process(utf8(ENGLISH, "x"), some).sums == {"sampled": 0}
    assert set(kept.column("id").to_pylist()) < set(prescreen.process(batch, more).kept.column("id").to_pylist())
    one_by_one = [prescreen.process(batch.slice(row, 1), some).kept for row in range(400)]
    assert pa.Table.from_batches(one_by_one) == pa.Table.from_batches([kept])
    every = prescreen.Config(languages=("en",), sample=1.0)
    assert prescreen.process(batch, every).dropped.num_rows == 0


def test_the_score_goes_through_the_extraction_into_the_documents() -> None:
    screened = prescreen.process(utf8(ENGLISH, "short"), EVERYTHING).kept
    documents = extract.process(screened, extract.Config()).kept
    assert documents.schema == DOCUMENTS.append(prescreen.SCORE_FIELD).append(extract.ENCODING)
    assert scores(documents) == scores(screened)
    assert scores(documents)[1] is None


def test_the_account_counts_the_pages_that_only_the_sample_keeps() -> None:
    step = Step("prescreen", "corpus.language.prescreen", prescreen.Config(languages=("en",), sample=0.1))
    batch = utf8(*[GERMAN] * 200, ENGLISH)
    chain = Chain([step], NotingAttempt(), 30.0)
    kept = list(chain.run(Rows([row], batch.slice(row, 1)) for row in range(batch.num_rows)))
    (account,) = chain.accounts
    rows = sum(part.num_rows for part in kept)
    assert account.to_json() == {
        "stage": "prescreen",
        "read": 201,
        "kept": rows,
        "dropped": {"prescreen.language": 201 - rows},
        "sampled": rows - 1,
    }
    assert rows > 5


@given(st.lists(st.one_of(st.binary(max_size=400), st.text(max_size=400).map(str.encode)), max_size=4), st.booleans())
def test_any_bytes_have_one_outcome_in_every_run(bodies: list[bytes], long: bool) -> None:
    bodies = [body * 30 for body in bodies] if long else bodies
    for charset in (None, "utf-8", "gbk", "utf-16", "no such"):
        batch = pages(*bodies, charset=charset)
        config = prescreen.Config(languages=("en",), sample=0.0, line_chars=5, min_chars=5)
        kept, dropped, *_ = prescreen.process(batch, config)
        ids = kept.column("id").to_pylist() + dropped.column("id").to_pylist()
        assert sorted(ids) == batch.column("id").to_pylist()
        assert prescreen.process(batch, config)[:2] == (kept, dropped)
        assert all(score is None or 0.1 <= score <= 1 for score in scores(kept))


def test_it_has_nothing_to_do_for_all_languages_or_many() -> None:
    def stages(*languages: str, **settings: Any) -> list[str]:
        made = [make_step("prescreen", settings), make_step("language", {"languages": list(languages)})]
        return [step.stage for step in in_force(made)]

    assert stages("en") == stages("en", "de", "fr", "es", "it") == ["prescreen", "language"]
    assert stages() == stages("all") == stages("en", "de", "fr", "es", "it", "nl") == ["language"]
    assert stages("en", enabled=False) == ["language"]
