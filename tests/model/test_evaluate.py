"""Scores of streams: every token counts once, the figures equal a slow count, and each stream has its row."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from bpe.encode import Encoder
from bpe.files import save_vocabulary
from bpe.train import train
from bpe.vocabulary import Vocabulary
from model.checkpoint import save
from model.cli import main
from model.config import ModelConfig, as_dict
from model.evaluate import Scoring, choose_windows, cut_windows, evaluate, evaluate_data, sum_losses, summarise
from model.gpt import GPT
from model.stream import fingerprint_of, held_out_lengths, open_stream, read_shards
from model.table import table
from model.tokenizer import Tokenizer
from tests.oracles.model_scores import Logits, stream_nats
from tests.oracles.model_stream import packed
from tests.support.model_shards import END_OF_TEXT, VOCAB, random_documents, small_model, small_training, write_shard

LENGTHS_V = np.arange(VOCAB) % 5  # ids divisible by 5 stand for no text


def opinionated(config: ModelConfig) -> GPT:
    """Large random weights, so that every token of the context matters."""
    model = GPT(config, seed=1)
    generator = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
    return model


def logits_of(model: GPT) -> Logits:
    @torch.no_grad()
    def logits(ids: Sequence[int]) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = model.logits(torch.tensor([list(ids)]))[0].double().numpy()
        return found

    return logits


@pytest.fixture(scope="module")
def gpt() -> GPT:
    return opinionated(small_model())


@pytest.fixture(scope="module")
def stream() -> list[int]:
    return packed(random_documents(12, length=9), END_OF_TEXT)


# --- a stream ----------------------------------------------------------------------------------------------


def test_bits_per_byte_of_a_thousand_documents(testdata: Path, tmp_path: Path) -> None:
    """Bits a byte of texts equal a count of each token's nats and of the texts' bytes."""
    news = gzip.decompress((testdata / "text/en_news_web.txt.gz").read_bytes()).decode().split("<|endoftext|>")
    mixed = gzip.decompress((testdata / "text/mixed_multilingual_code.jsonl.gz").read_bytes()).splitlines()
    texts = [text.strip()[:150] for text in [*news[:600], *(json.loads(line)["text"] for line in mixed[:399])]] + [""]
    assert len(texts) == 1000
    vocabulary = train(texts, 500)
    encoder, end_of_text = Encoder(vocabulary), vocabulary.end_of_text
    documents = [encoder.encode(text).tolist() for text in texts]
    assert all(vocabulary.decode(ids) == text.encode() for ids, text in zip(documents, texts, strict=True))
    write_shard(tmp_path / "a.parquet", documents, vocabulary.size, end_of_text, vocabulary.hash)
    model = opinionated(small_model(vocab_size=vocabulary.size, context=64, layers=1))

    ids_N = open_stream(tmp_path, tmp_path, 0.0).train_N
    scores = evaluate(model, ids_N, Scoring(end_of_text, 16, Tokenizer(vocabulary).byte_lengths))

    by_hand = packed(documents, end_of_text)
    nats = stream_nats(logits_of(model), by_hand, end_of_text, 64, 64)
    bits = sum(nat / math.log(2) for nat, token in zip(nats, by_hand, strict=True) if token != end_of_text)
    text_bytes = sum(len(text.encode()) for text in texts)
    assert scores.tokens == len(by_hand)
    assert scores.bytes == text_bytes
    assert scores.bits_per_byte == pytest.approx(bits / text_bytes, rel=1e-6)
    assert scores.loss == pytest.approx(sum(nats) / len(nats), rel=1e-6)
    assert scores.perplexity == pytest.approx(math.exp(sum(nats) / len(nats)), rel=1e-5)


@pytest.mark.parametrize("doc_mask", [False, True])
@pytest.mark.parametrize("stride", [0, 5, 1])
def test_overlapping_windows_and_documents_apart(gpt: GPT, stream: list[int], stride: int, doc_mask: bool) -> None:
    scoring = Scoring(END_OF_TEXT, 3, LENGTHS_V, doc_mask, stride)
    scores = evaluate(gpt, np.array(stream), scoring)
    nats = stream_nats(logits_of(gpt), stream, END_OF_TEXT, 16, stride or 16, doc_mask)
    lengths = [int(LENGTHS_V[token]) for token in stream]
    text_nats = sum(nat for nat, length in zip(nats, lengths, strict=True) if length)
    assert scores.tokens == len(stream)
    assert scores.bytes == sum(lengths)
    assert scores.loss == pytest.approx(sum(nats) / len(nats), rel=1e-6)
    assert scores.bits_per_byte == pytest.approx(text_nats / math.log(2) / sum(lengths), rel=1e-6)


def test_modes_differ_and_bytes_may_be_unknown(gpt: GPT, stream: list[int]) -> None:
    scorings = [Scoring(END_OF_TEXT, 3, doc_mask=mask, stride=stride) for mask in (False, True) for stride in (0, 4)]
    scores = [evaluate(gpt, np.array(stream), scoring) for scoring in scorings]
    assert len({round(each.loss, 4) for each in scores}) == 4
    assert {(each.bits_per_byte, each.bytes) for each in scores} == {(None, None)}


@given(ids=st.integers(1, 80), context=st.integers(1, 20), data=st.data())
def test_windows_hold_every_target_once(ids: int, context: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, context))
    ids_N = np.arange(1, ids + 1, dtype=np.uint16)  # the end-of-text token is 0, so that an id's place is its number
    windows_N = choose_windows(ids, context, stride, 0)
    rows, counted = cut_windows(ids_N, windows_N, context, stride, 0)
    inputs, targets = rows[:, :-1], rows[:, 1:]
    assert targets[counted].tolist() == ids_N.tolist()  # every id once, in order
    for x_T, y_T, counted_T in zip(inputs, targets, counted, strict=True):
        real = y_T > 0
        assert not (counted_T & ~real).any()
        assert (x_T[real] == y_T[real] - 1).all()  # each input is the id before its target
        first = int(counted_T.argmax())
        assert first >= min(int(y_T[first]) - 1, context - stride)  # at least so many inputs stand before it
    none = cut_windows(ids_N, np.array([-1, 0]), context, stride, 0)[1]
    assert not none[0].any()
    assert none[1].any()


@given(ids=st.integers(1, 500), context=st.integers(1, 20), most=st.integers(1, 60))
def test_some_windows_are_spread_over_the_stream(ids: int, context: int, most: int) -> None:
    every, some = (choose_windows(ids, context, context, count) for count in (0, most))
    assert len(every) == -(-ids // context)
    assert len(some) == min(most, len(every))
    gaps = np.diff(some)
    assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)
    assert some[0] == 0
    assert some[-1] <= every[-1]


def test_windows_asked_for_are_the_ones_scored(gpt: GPT) -> None:
    stream = packed(random_documents(20), END_OF_TEXT)  # 820 ids, 52 windows
    scores = evaluate(gpt, np.array(stream), Scoring(END_OF_TEXT, 4, most_windows=5))
    nats = stream_nats(logits_of(gpt), stream, END_OF_TEXT, 16, 16)
    chosen = [nat for window in (0, 10, 20, 31, 41) for nat in nats[16 * window : 16 * window + 16]]
    assert scores.tokens == len(chosen) == 80
    assert scores.loss == pytest.approx(sum(chosen) / 80, rel=1e-6)


@pytest.mark.parametrize("world", [2, 3, 7])
def test_processes_together_score_what_one_does(gpt: GPT, stream: list[int], world: int) -> None:
    calls = []
    watch = gpt.register_forward_pre_hook(lambda module, arguments: calls.append(tuple(arguments[0].shape)))
    scoring = Scoring(END_OF_TEXT, 2, LENGTHS_V)
    shares = [sum_losses(gpt, np.array(stream), scoring, rank, world) for rank in range(world)]
    watch.remove()
    assert len(calls) % world == 0  # every rank makes equally many forward passes, of one shape
    assert set(calls) == {(2, 16)}
    whole = evaluate(gpt, np.array(stream), scoring)
    together = summarise(torch.stack(shares).sum(0), scoring)
    assert (together.tokens, together.bytes) == (whole.tokens, whole.bytes)
    assert together.loss == pytest.approx(whole.loss, rel=1e-9)
    assert together.bits_per_byte == pytest.approx(whole.bits_per_byte, rel=1e-9)


def test_nothing_to_score_and_strides_that_leave_tokens_out(gpt: GPT) -> None:
    with pytest.raises(ValueError, match="no tokens to score"):
        evaluate(gpt, np.array([], np.uint16), Scoring(END_OF_TEXT, 2))
    with pytest.raises(ValueError, match="stride = 17: should be at most the context, 16"):
        evaluate(gpt, np.array([1, 2]), Scoring(END_OF_TEXT, 2, stride=17))


@pytest.mark.gpu
def test_scoring_on_cuda_waits_for_nothing_and_agrees(gpt: GPT) -> None:
    ids_N = np.array(packed(random_documents(200), END_OF_TEXT))
    on_cuda = opinionated(small_model()).cuda()
    for doc_mask in (False, True):
        scoring = Scoring(END_OF_TEXT, 64, LENGTHS_V, doc_mask)
        torch.cuda.set_sync_debug_mode("default" if doc_mask else "error")  # making a mask waits for the device
        try:
            sums = sum_losses(on_cuda, ids_N, scoring)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        ours, theirs = summarise(sums, scoring), evaluate(gpt, ids_N, scoring)
        assert (ours.tokens, ours.bytes) == (theirs.tokens, theirs.bytes)
        assert ours.loss == pytest.approx(theirs.loss, rel=0.02)  # products in bf16


# --- a run and folders of shards ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(tuple(bytes([b]) for b in range(256)), "gpt2", {"<|endoftext|>": 256})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> Path:
    """`mixed` has shards in sub-folders, and the run in `run` was trained on it; `other` it was not trained on."""
    root = tmp_path_factory.mktemp("work")
    for number, name in enumerate(("mixed/code/a", "mixed/code/b", "mixed/news/a", "mixed/loose", "other/a")):
        texts = [f"{name}, document {n}: " + "what it says. " * (n % 4) for n in range(40 + 10 * number)]
        documents = [list(text.encode()) for text in texts]
        ids = [f"<urn:uuid:{name}-{n}>" for n in range(len(texts))]
        write_shard(root / f"{name}.parquet", documents, vocabulary.size, 256, vocabulary.hash, ids=ids)
    save_run(root / "run", root / "mixed", vocabulary)
    return root


def save_run(run: Path, folder: Path, vocabulary: Vocabulary, **state: Any) -> None:
    config, training = small_model(vocab_size=257), small_training(validation_fraction=0.3)
    fingerprint = fingerprint_of(read_shards(folder), 0.3)
    identity = {
        "model": as_dict(config),
        "train": as_dict(training),
        "data": {"fingerprint": fingerprint, "tokenizer_hash": vocabulary.hash, "end_of_text": 256},
    }
    run.mkdir()
    save(run, 3, {**identity, "weights": opinionated(config).state_dict(), **state}, 1)
    save_vocabulary(vocabulary, run / "tokenizer")


def run_eval(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["eval", *(str(argument) for argument in arguments)])


def eval_json(*arguments: object) -> Any:
    result = run_eval(*arguments, "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_held_out_documents_of_each_sub_folder(root: Path) -> None:
    answer = eval_json(root / "run", "--data", root / "mixed")
    assert [row["name"] for row in answer["data"]] == [f"{root}/mixed/{name}" for name in ("code", ".", "news")]
    assert {row["part"] for row in (*answer["data"], answer["total"])} == {"held-out"}
    held_out_N = open_stream(root / "mixed", root, 0.3).held_out_N
    assert sum(row["tokens"] for row in answer["data"]) == answer["total"]["tokens"] == len(held_out_N)
    by_sub_folder = dict(zip(("code", ".", "news"), answer["data"], strict=True))
    lengths = held_out_lengths(root / "mixed", 0.3)  # code/a, code/b, loose, news/a
    assert by_sub_folder["code"]["tokens"] == lengths[0] + lengths[1]
    config = small_model(vocab_size=257)
    own_N = held_out_N[-lengths[3] :]
    nats = stream_nats(logits_of(opinionated(config)), own_N.tolist(), 256, 16, 16)
    assert by_sub_folder["news"]["loss"] == pytest.approx(sum(nats) / len(nats), rel=1e-6)
    assert by_sub_folder["news"]["bytes"] == int((own_N != 256).sum())


def test_a_row_a_shard_and_named_folders_and_totals_of_sums(root: Path) -> None:
    answer = eval_json(root / "run", "--data", f"ours={root}/mixed", "--data", root / "other", "--by-shard")
    *ours, other = answer["data"]
    assert [row["name"] for row in ours] == ["ours/code/a", "ours/code/b", "ours/loose", "ours/news/a"]
    assert [row["tokens"] for row in ours] == held_out_lengths(root / "mixed", 0.3)
    assert (other["name"], other["part"]) == (f"{root}/other", "all")
    assert other["tokens"] == len(open_stream(root / "other", root, 0.0).train_N)
    total, rows = answer["total"], answer["data"]
    assert total["part"] == ""
    assert total["tokens"] == sum(row["tokens"] for row in rows)
    assert total["loss"] == pytest.approx(sum(row["loss"] * row["tokens"] for row in rows) / total["tokens"])
    bits = sum(row["bits_per_byte"] * row["bytes"] for row in rows)
    assert total["bits_per_byte"] == pytest.approx(bits / total["bytes"])


def test_strides_and_fewer_windows(root: Path) -> None:
    whole = eval_json(root / "run", "--data", root / "other")
    finer = eval_json(root / "run", "--data", root / "other", "--stride", 4)
    some = eval_json(root / "run", "--data", root / "other", "--windows", 7)
    assert finer["total"]["tokens"] == whole["total"]["tokens"]
    assert finer["total"]["bytes"] == whole["total"]["bytes"]
    assert finer["total"]["loss"] != whole["total"]["loss"]
    assert some["total"]["tokens"] == 7 * 16


def test_table_reads_well(root: Path) -> None:
    result = run_eval(root / "run", "--data", f"ours={root}/mixed", "--data", f"{'x' * 90}={root}/other")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["data", "part", "tokens", "bytes", "loss", "perplexity", "bits", "a", "byte"]
    assert [line.split()[0] for line in lines[1:-2]] == ["ours/code", "ours/.", "ours/news"]
    assert lines[-2].startswith("…xxx")
    assert lines[-1].startswith("total ")
    assert {len(line) for line in lines} == {100}
    single = run_eval(root / "run", "--data", root / "other").stdout.splitlines()
    assert len(single) == 2
    assert " all " in single[1]


def test_run_that_is_imported_or_has_no_tokenizer(root: Path, tmp_path: Path, vocabulary: Vocabulary) -> None:
    save_run(tmp_path / "run", root / "mixed", vocabulary, train=None, data={})
    answer = eval_json(tmp_path / "run", "--data", root / "mixed")
    assert {row["part"] for row in answer["data"]} == {"all"}
    for path in (tmp_path / "run/tokenizer").iterdir():
        path.unlink()
    (tmp_path / "run/tokenizer").rmdir()
    total = eval_json(tmp_path / "run", "--data", root / "mixed")["total"]
    assert (total["bits_per_byte"], total["bytes"]) == (None, None)
    assert total["loss"] == answer["total"]["loss"]
    assert run_eval(tmp_path / "run", "--data", root / "other").stdout.splitlines()[1].endswith("   -")


def test_masks_that_the_model_was_trained_with_are_used(root: Path, tmp_path: Path, vocabulary: Vocabulary) -> None:
    training = as_dict(small_training(validation_fraction=0.3, doc_mask=True))
    save_run(tmp_path / "run", root / "mixed", vocabulary, train=training)
    documents = [list(b"one document"), list(b"and another"), [], list(b"a third")]
    write_shard(tmp_path / "few/a.parquet", documents, 257, 256, vocabulary.hash)
    total = eval_json(tmp_path / "run", "--data", tmp_path / "few")["total"]
    stream = packed(documents, 256)
    nats = stream_nats(logits_of(opinionated(small_model(vocab_size=257))), stream, 256, 16, 16, doc_mask=True)
    assert total["loss"] == pytest.approx(sum(nats) / len(nats), rel=1e-6)


def test_errors_are_one_line(root: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "foreign/a.parquet", [[1, 2]] * 9)
    write_shard(tmp_path / "empty/a.parquet", [], 257, 256, read_shards(root / "other")[0].tokenizer_hash)
    for data, message in (
        (tmp_path / "foreign", f"model: {tmp_path}/foreign: made by tokenizer aaaaaaaaaaaa, the run by "),
        (tmp_path / "empty", f"model: {tmp_path}/empty: holds no tokens to score"),
        (f"name={tmp_path}/none", f"model: {tmp_path}/none: no such directory of TOKENS shards"),
    ):
        result = run_eval(root / "run", "--data", data)
        assert result.exit_code == 1, result.output
        assert result.stderr.startswith(message)
        assert len(result.stderr.splitlines()) == 1
        assert result.stdout == ""
    result = run_eval(root / "run", "--data", root / "other", "--stride", 99)
    assert result.exit_code == 2
    assert "stride = 99: should be at most the context, 16" in result.stderr
    result = run_eval(root / "run")
    assert result.exit_code == 2
    assert "give --data, --choices or both" in result.stderr


def test_larger_vocabulary_than_an_imported_model_is_refused(root: Path, vocabulary: Vocabulary) -> None:
    model = opinionated(small_model(vocab_size=200))
    with pytest.raises(ValueError, match="has a vocabulary of 257, the run one of 200"):
        evaluate_data(model, {"train": None, "data": None}, root, None, [("other", root / "other")])


def test_columns_are_aligned_and_long_names_lose_their_beginning() -> None:
    assert table([("a", "b"), ("name", "12.5")]) == ["a        b", "name  12.5"]
    assert table([("a", "b"), ("0123456789" * 2, "1")], width=15) == ["a             b", "…90123456789  1"]
