"""The funnel: sums over units, and an account that is audited, not believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.report.funnel import Funnel, counted, funnel, funnel_json, funnel_text, share
from tests.support.funnels import count, record, small

GOLDEN = """\
stage, rule           read   kept  dropped        share
warc                 1,200  1,170       30   97.5% kept
  warc.status                           23    1.9%
  warc.content_type                      7    0.6%
c4                   1,170    760      410   65.0% kept
  c4.few_sentences                     400   34.2%
  c4.curly_bracket                      10    0.9%
dedup                  760    700       60   92.1% kept
  dedup.minhash                         60    7.9%
tokens                 700    700        0  100.0% kept

700 of 1,200 kept (58.3%), 300,045 tokens, 6 units of work
the account adds up: read = kept + dropped in every stage
"""


def test_text_of_a_small_funnel() -> None:
    assert funnel_text(funnel(small()), color=False) == GOLDEN


def test_color_adds_escapes_and_nothing_else() -> None:
    colored = funnel_text(funnel(small()), color=True)
    assert colored != GOLDEN
    for code in ("\x1b[1m", "\x1b[2m", "\x1b[0m"):
        colored = colored.replace(code, "")
    assert colored == GOLDEN


def test_names_in_a_dataset_reach_no_terminal_as_they_are() -> None:
    evil = "c4\x1b[2J\u202e"
    lying = {**count(evil, 10, {f"{evil}.rule": 4}), "kept": 5}
    shown = funnel_text(funnel([("documents", record("unit", lying))]), color=False)
    assert shown.count("c4\\u001b[2J\\u202e") == 3
    assert all(line.isprintable() for line in shown.split("\n"))


def test_json_has_stable_keys_and_survives_json() -> None:
    found = funnel_json(funnel(small()))
    assert json.loads(json.dumps(found)) == found
    assert list(found) == ["format", "read", "kept", "tokens", "units", "seconds", "stages", "errors"]
    assert found["stages"][1] == {
        "dataset": "documents",
        "stage": "c4",
        "read": 1170,
        "kept": 760,
        "dropped": {"c4.few_sentences": 400, "c4.curly_bracket": 10},
        "sums": {},
    }
    assert found["stages"][-1]["sums"] == {"tokens": 300_045, "chars": 1_200_005}
    assert (found["tokens"], found["units"], found["seconds"], found["errors"]) == (300_045, 6, 9.0, [])


def test_a_stage_that_loses_documents_is_flagged() -> None:
    leaky = {"stage": "c4", "read": 10, "kept": 7, "dropped": {"c4.few_sentences": 2}}
    found = funnel([("documents", record("A-0", leaky))])
    assert found.errors == ("c4 read 10 but kept 7 and dropped 2",)
    assert "THE ACCOUNT DOES NOT ADD UP: c4 read 10 but kept 7 and dropped 2" in funnel_text(found, color=False)
    assert funnel_json(found)["errors"] == list(found.errors)


def test_documents_lost_between_stages_or_datasets_are_flagged() -> None:
    first = record("A-0", count("warc", 10, {}), count("c4", 9, {}))
    second = record("U-0", count("dedup", 8, {}))
    found = funnel([("documents", first), ("unique", second)])
    assert found.errors == ("warc kept 10 but c4 read 9", "c4 kept 9 but dedup read 8")


def test_only_passes_that_write_documents_or_tokens_have_lines() -> None:
    kept = count("c4", 10, {"c4.few_sentences": 2})
    passes = [
        ("crawl", record("A-0.warc.gz", kind="warc")),  # what `corpus fetch` writes
        ("documents", record("A-0", kept)),
        ("scores", record("A-0", count("classify", 8, {}), kind="labels")),
        ("tokenizer", record("all", count("tokenizer", 8, {}), kind="vocabulary")),
        ("mixed", record("A-0", count("mix", 8, {}, copies=4))),
        ("tokens", record("A-0", count("tokens", 12, {}, tokens=500), kind="tokens")),
    ]
    found = funnel(passes)
    assert [line.stage for line in found.lines] == ["c4", "mix", "tokens"]
    assert (found.units, found.seconds, found.errors) == (6, 9.0, ())


def test_a_unit_that_is_counted_twice_is_flagged() -> None:
    found = funnel([("documents", record("A-0", count("warc", 1, {})))] * 2)
    assert found.errors == ("documents: unit A-0 is counted 2 times",)


def test_what_is_no_commit_record_is_refused() -> None:
    with pytest.raises(ValueError, match="record A-0 of documents has no counts"):
        funnel([("documents", {"unit": "A-0"})])


def test_nothing_committed_is_an_empty_funnel() -> None:
    found = funnel([])
    assert found == Funnel((), 0, 0.0, ())
    assert "0 of 0 kept (-), 0 units" in funnel_text(found, color=False)


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 10, "0.0%"),
        (10, 10, "100.0%"),
        (1, 100_000, "<0.1%"),
        (99_999, 100_000, ">99.9%"),
        (1, 3, "33.3%"),
        (0, 0, "-"),
    ],
)
def test_shares_never_round_to_none_or_all(part: int, whole: int, shown: str) -> None:
    assert share(part, whole) == shown


DROPS = st.dictionaries(st.sampled_from(["a.x", "a.y", "a.z"]), st.integers(1, 50))


@given(st.lists(st.tuples(st.integers(0, 50), DROPS), min_size=1, max_size=6), st.randoms())
def test_sums_do_not_depend_on_the_order_of_units(units: list[tuple[int, dict[str, int]]], random: Any) -> None:
    records = [
        ("d", record(f"u{n}", count("a", kept + sum(drops.values()), drops), count("b", kept, {})))
        for n, (kept, drops) in enumerate(units)
    ]
    found = funnel(records)
    random.shuffle(records)
    assert funnel(records) == found
    assert found.errors == ()
    assert found.kept == sum(kept for kept, _ in units)
    assert sum(number for _, _, number in found.drops) == found.read - found.kept


def test_what_stages_count_besides_is_said_most_first() -> None:
    counts = (
        count("warc", 9, {}, skipped_request=9, skipped_warcinfo=1, skipped_metadata=0),
        count("optout", 9, {"optout.tdm": 2}, opt_out_noai=1, opt_out_robots=3),
        count("scrub", 7, {}, pii_email=2, pii_ip=2, pii_phone=5),
    )
    found = funnel([("documents", record("A", *counts)), ("documents", record("B", *counts))])
    assert counted(found) == [
        "records without a page, warc: 18 request, 2 warcinfo",
        "opt-outs of pages that stay, optout: 6 robots, 2 noai",
        "masked, scrub: 10 phone, 4 email, 4 ip",
    ]
    assert "\n".join(counted(found)) in funnel_text(found, color=False)
