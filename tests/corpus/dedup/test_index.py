"""The index of published documents, and the services that may ask it."""

from __future__ import annotations

import functools
from typing import Any

import datasketch
import fakeredis
import pyarrow as pa
import pytest

from corpus.dedup import Config
from corpus.dedup.index import fill_lsh, index_rows, index_schema
from corpus.dedup.signatures import shingle_sets, sign, to_datasketch
from corpus.schema import DOCUMENTS

CONFIG = Config()
STORY = "It was a bright cold day in April and the clocks were striking an hour that no clock has"


def documents(*texts: str) -> pa.RecordBatch:
    rows = [{"text": text, "id": f"<{number}>", "dump": "d"} for number, text in enumerate(texts)]
    return pa.RecordBatch.from_pylist(rows, schema=DOCUMENTS)


def test_a_row_has_all_that_later_documents_are_compared_by() -> None:
    batch = documents(STORY, "", "two words")
    found = index_rows(batch, CONFIG)
    assert found.schema == index_schema(CONFIG)
    signed = sign(batch, CONFIG)
    for name in signed.schema.names:
        assert found.column(name) == signed.column(name)
    values, ends = shingle_sets(batch.column("text"), CONFIG)
    assert found.column("ngrams").to_pylist() == [values[ends[i] : ends[i + 1]].tolist() for i in range(3)]
    assert found.column("length").to_pylist() == [len(STORY), 0, 9]


def test_without_minhash_it_has_hashes_of_texts_alone() -> None:
    names = index_rows(documents(STORY), Config(minhash=False)).schema.names
    assert "text_hash" in names
    assert not {"signature", "ngrams"} & set(names)


@pytest.mark.parametrize("storage", ["dict", "redis"])
def test_datasketch_is_filled_whatever_its_storage(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = functools.partial(fakeredis.FakeRedis, server=fakeredis.FakeServer())
    monkeypatch.setattr("datasketch.storage.redis.Redis", server)
    where: dict[str, Any] = {"type": storage, "basename": b"corpus", "redis": {"host": "localhost", "port": 6379}}
    lsh = datasketch.MinHashLSH(num_perm=CONFIG.num_perm, params=(CONFIG.bands, CONFIG.rows), storage_config=where)
    texts = [STORY, "another text that has nothing to do with the first of them", STORY + " and one word more"]
    assert fill_lsh([index_rows(documents(*texts[:2]), CONFIG)], CONFIG, lsh) == 2
    asked = sign(documents(texts[2]), CONFIG).to_pylist()[0]
    assert lsh.query(to_datasketch(asked, CONFIG)) == ["<0>"]


def test_keys_may_be_of_ones_own_making() -> None:
    lsh = datasketch.MinHashLSH(num_perm=CONFIG.num_perm, params=(CONFIG.bands, CONFIG.rows))
    fill_lsh([index_rows(documents(STORY), CONFIG)], CONFIG, lsh, key=lambda row: ("mine", row["id"]))
    (row,) = sign(documents(STORY), CONFIG).to_pylist()
    assert lsh.query(to_datasketch(row, CONFIG)) == [("mine", "<0>")]
