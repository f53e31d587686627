from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from corpus.engine.base import Quarantine
from corpus.run.chain import Chain, Rows, Step
from corpus.schema import DOCUMENTS
from tests.support.works import Config, NotingAttempt

STEP = Step("works", "tests.support.works", Config())


def source(texts: list[str], size: int) -> Iterator[Rows]:
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        rows = [{"text": text, "id": f"<{start + i}>", "warc_offset": start + i} for i, text in enumerate(part)]
        yield Rows(list(range(start, start + len(part))), pa.RecordBatch.from_pylist(rows, schema=DOCUMENTS))


def run(chain: Chain, texts: list[str], size: int) -> tuple[list[str], list[tuple[str, str, str]]]:
    kept = [text for batch in chain.run(source(texts, size)) for text in batch.column("text").to_pylist()]
    dropped = chain.dropped()
    columns = [dropped.column(name).to_pylist() for name in ("id", "rule", "value")]
    return kept, list(zip(*columns, strict=True))


TEXTS = [f"bad {i}" if i % 7 == 3 else f"good {i}" for i in range(200)]


@pytest.mark.parametrize("size", [1, 10, 64, 200])
@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("alone", [False, True])
def test_the_result_does_not_depend_on_batches(size: int, careful: bool, alone: bool) -> None:
    second = Step("works", "tests.support.works", Config(bad="good 5"))
    chain = Chain(
        [STEP._replace(module="tests.support.alone_works") if alone else STEP, second], NotingAttempt(careful), 1.0
    )
    kept, dropped = run(chain, TEXTS, 1 if alone else size)
    assert kept == [text for text in TEXTS if not text.startswith(("bad", "good 5"))]
    expected = [(f"<{i}>", "works.bad", text) for i, text in enumerate(TEXTS) if text.startswith(("bad", "good 5"))]
    assert dropped == expected
    first, last = (account.to_json() for account in chain.accounts)
    assert (first["read"], first["kept"], last["kept"]) == (200, last["read"], len(kept))


def test_a_quarantined_row_is_dropped_and_never_run() -> None:
    attempt = NotingAttempt(
        quarantine={5: Quarantine("works", "crash", "SIGSEGV"), 9: Quarantine("other", "crash", "-")}
    )
    chain = Chain([STEP], attempt, 1.0)
    texts = ["x"] * 5 + ["segv"] + ["x"] * 6
    kept, dropped = run(chain, texts, 4)
    assert kept == ["x"] * 11
    assert dropped == [("<5>", "works.crash", "SIGSEGV")]


def test_a_batch_over_time_is_run_again_row_by_row() -> None:
    attempt = NotingAttempt(hang=6)
    chain = Chain([STEP], attempt, 2.5)
    kept, dropped = run(chain, [str(i) for i in range(8)], 8)
    assert kept == ["0", "1", "2", "3", "4", "5", "7"]
    assert dropped == [("<6>", "works.timeout", "2.5")]
    assert attempt.guards == [(0, 8)] + [(i, 1) for i in range(8)]


def test_a_stage_that_loses_a_row_is_a_loud_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import works

    monkeypatch.setattr(works, "process", works.forgetful)
    with pytest.raises(RuntimeError, match="stage works read 8 rows, kept 7 and dropped 0"):
        run(Chain([STEP], NotingAttempt(), 1.0), ["x"] * 8, 8)


def test_a_row_at_which_a_stage_fails_is_set_aside() -> None:
    texts = [f"good {i}" for i in range(100)]
    texts[5], texts[70] = "raise", "unicode"
    attempt = NotingAttempt()
    chain = Chain([STEP], attempt, 1.0)
    kept, dropped = run(chain, texts, 64)
    assert len(kept) == 98
    assert dropped == [
        ("<5>", "works.error", "RuntimeError: asked for"),
        ("<70>", "works.error", "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: asked for"),
    ]
    assert chain.accounts[0].to_json() == {
        "stage": "works",
        "read": 100,
        "kept": 98,
        "dropped": {"works.error": 2},
    }
    assert [(row, why.kind) for row, why, _ in attempt.notes] == [(5, "error"), (70, "error")]
    assert "in misbehave" in attempt.notes[0][2]


@pytest.mark.parametrize(("bad", "good"), [(11, 0), (1001, 3000)])
def test_a_stage_that_fails_everywhere_is_at_fault_itself(bad: int, good: int) -> None:
    with pytest.raises(ValueError, match=rf"stage works failed at {bad:,} of .* with RuntimeError: asked for"):
        run(Chain([STEP], NotingAttempt(), 1.0), ["good"] * good + ["raise"] * bad, 64)


@pytest.mark.parametrize("size", [1, 64])
@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("value", "ValueError: asked for"),
        ("missing", "FileNotFoundError: [Errno 2] No such file or directory: 'nothere'"),
        ("quit", "SystemExit: asked for"),
        ("surrogate", r"ValueError: \ud800"),
        ("unprintable", "Unprintable: (its text cannot be shown)"),
    ],
)
def test_whatever_a_stage_of_a_user_raises_is_the_row_s(how: str, error: str, size: int) -> None:
    attempt = NotingAttempt()
    chain = Chain([STEP], attempt, 1.0)
    kept, dropped = run(chain, ["good", how, "good"], size)
    assert kept == ["good", "good"]
    assert dropped == [("<1>", "works.error", error)]
    ((row, why, trace),) = attempt.notes
    assert (row, why.kind) == (1, "error")
    assert "in misbehave" in trace
    trace.encode()


def test_what_the_machine_is_to_blame_for_is_no_row_s_fault() -> None:
    with pytest.raises(OSError, match="No space left"):
        run(Chain([STEP], NotingAttempt(), 1.0), ["good", "full"], 64)


def test_a_file_that_is_missing_for_every_row_is_the_stage_s_fault() -> None:
    with pytest.raises(FileNotFoundError, match="nothere"):
        run(Chain([STEP], NotingAttempt(), 1.0), ["missing", "missing"], 64)


def test_a_value_error_of_a_stage_of_this_package_names_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as labels that belong to other documents: to drop these would lose them."""
    monkeypatch.setattr("corpus.run.own.is_own", lambda module: False)
    with pytest.raises(ValueError, match="asked for"):
        run(Chain([STEP], NotingAttempt(), 1.0), ["good", "value"], 64)


def test_an_outcome_without_a_mask_is_refused_where_rows_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import works

    monkeypatch.setattr(works, "process", works.maskless)
    with pytest.raises(
        RuntimeError, match=r"stage works: its Outcome keeps 1 rows, its mask 0; corpus\.schema\.outcome"
    ):
        run(Chain([STEP], NotingAttempt(), 1.0), ["good", "bad"], 2)


def test_rows_of_equal_columns_are_told_apart() -> None:
    """Ids repeat where a crawl repeats: only the mask says which of two equal rows was dropped."""
    rows = [{"text": text, "id": "<same>", "url": "https://a.example/", "warc_offset": 0} for text in ("bad", "good")]
    batch = pa.RecordBatch.from_pylist(rows, schema=DOCUMENTS)
    chain = Chain([STEP], NotingAttempt(), 1.0)
    (kept,) = chain.run([Rows([0, 1], batch)])
    assert kept.column("text").to_pylist() == ["good"]
    assert chain._dropped._ordinals[0].tolist() == [0]


@pytest.mark.parametrize("keeps", [True, False])
def test_dropped_rows_are_in_input_order_and_keep_their_text_where_it_is_wanted(keeps: bool) -> None:
    texts = ["bad" if row % 3 else "good" for row in range(20_000)]
    chain = Chain([STEP], NotingAttempt(), 1.0, keep_dropped_text=keeps)
    kept, _ = run(chain, texts, 64)
    dropped = chain.dropped()
    ids = [f"<{row}>" for row in range(20_000) if row % 3]
    assert len(kept) + dropped.num_rows == 20_000
    assert dropped.column("text").to_pylist() == ["bad" if keeps else None] * len(ids)
    assert dropped.column("id").to_pylist() == ids
    assert len(dropped.column("id").chunks) < 10
