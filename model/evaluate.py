"""Scores of a model on streams of ids: loss in nats a token, perplexity and bits a byte.

Every id of a stream is a target once. An end-of-text token goes before the first id, as in training and sampling. The
stream is then cut into windows of the model's context; the last window may be shorter, so that no id is left out. The
first tokens of a window are predicted from few tokens. With a `stride` below the context the windows overlap, and a
window counts only the tokens that no earlier window has. Except in the first window every token is then predicted from
at least context - stride tokens, as is the custom when perplexities are compared, at context / stride times the cost.

Bits a byte divides the information by the length of the text instead of the number of tokens, so that models with
different tokenizers can be compared (nanochat's `loss_eval.py`). Targets that stand for no text, such as end-of-text
tokens, count neither in the bits nor in the bytes. The scores of several streams together are computed from the sums
over all their tokens and bytes, not as a mean of means.

The sums are kept on the model's device in fp64 and read once, so that the CPU does not wait for each forward pass.

Array names: N ids of a stream, B windows, T tokens of a window, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.attention import kernels
from model.device import autocast, micro_batch_tokens, to_device
from model.gpt import GPT
from model.stream import TokenShard, fingerprint_of, held_out_lengths, open_stream, read_shards
from model.table import table
from model.tokenizer import Tokenizer

Ids = npt.NDArray[Any]  # uint16, uint32 or int64
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


class Evaluation(NamedTuple):
    """Scores of a model on one or several streams."""

    loss: float  # mean nats a token, end-of-text tokens included
    perplexity: float  # e ** loss
    bits_per_byte: float | None  # None without a tokenizer, and if the tokens stand for no text
    tokens: int  # scored
    bytes: int | None  # of text that the tokens stand for; None without a tokenizer


@dataclass(frozen=True)
class Scoring:
    """How a stream is scored."""

    end_of_text: int  # id
    micro_batch: int  # windows in one forward pass
    byte_lengths_V: Int64 | None = None  # bytes of text that each id stands for (Tokenizer.byte_lengths), if known
    doc_mask: bool = False  # whether attention stays within a document, as it did in training
    stride: int = 0  # tokens from the start of one window to the start of the next; 0: the context
    most_windows: int = 0  # score at most so many windows, spread evenly over the stream; 0: all

    def stride_of(self, context: int) -> int:
        """The stride in tokens. Raises ValueError for a stride above the context, which would leave tokens out."""
        if not 0 <= self.stride <= context:
            raise ValueError(f"stride = {self.stride}: should be at most the context, {context}; 0 takes the context")
        return self.stride or context


# --- a stream ----------------------------------------------------------------------------------------------


def evaluate(model: GPT, ids_N: Ids, scoring: Scoring) -> Evaluation:
    """The scores on a stream of ids. Raises ValueError for an empty stream."""
    return summarise(sum_losses(model, ids_N, scoring), scoring)


@torch.no_grad()
def sum_losses(model: GPT, ids_N: Ids, scoring: Scoring, rank: int = 0, world: int = 1) -> Tensor:
    """Four sums over the windows of process `rank`: nats, tokens, nats of text, bytes of text; (4,) in fp64.

    Added over all ranks they are the sums of one process that scores all windows. Every rank makes the same number of
    forward passes, all of one shape, because with FSDP2 the processes gather each layer's weights together.
    """
    device, context = model.embedding.weight.device, model.config.context
    stride = scoring.stride_of(context)
    lengths_V = None
    if scoring.byte_lengths_V is not None:
        lengths_V = to_device(scoring.byte_lengths_V, device)
    windows_W = choose_windows(len(ids_N), context, stride, scoring.most_windows)
    windows_a_pass = scoring.micro_batch * world
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    for first in range(0, len(windows_W), windows_a_pass):
        start = first + rank * scoring.micro_batch
        numbers_B = np.full(scoring.micro_batch, -1)
        share_W = windows_W[start : start + scoring.micro_batch]
        numbers_B[: len(share_W)] = share_W
        rows, counted = cut_windows(ids_N, numbers_B, context, stride, scoring.end_of_text)
        rows_BT, counted_BT = to_device(rows, device), to_device(counted, device)
        x_BT, y_BT = rows_BT[:, :-1], rows_BT[:, 1:]
        with kernels(device), autocast(device):
            end_of_text = scoring.end_of_text if scoring.doc_mask else None
            nats_BT = model(x_BT, y_BT, reduction="none", end_of_text=end_of_text)
        sums += _sums(nats_BT.double(), y_BT, counted_BT, lengths_V)
    return sums


def _sums(nats_BT: Tensor, y_BT: Tensor, counted_BT: Tensor, lengths_V: Tensor | None) -> Tensor:
    """The four sums of `sum_losses` for one forward pass, with losses `nats_BT` in fp64."""
    lengths_BT = torch.zeros_like(y_BT) if lengths_V is None else lengths_V[y_BT] * counted_BT
    nats, text_nats = (torch.where(mask_BT, nats_BT, 0.0).sum() for mask_BT in (counted_BT, lengths_BT > 0))
    return torch.stack((nats, counted_BT.sum(), text_nats, lengths_BT.sum()))


def summarise(sums: Tensor, scoring: Scoring) -> Evaluation:
    """The scores from the four sums of `sum_losses`, which may be added over processes and streams.

    Raises ValueError if no token was scored.
    """
    nats, tokens, text_nats, text_bytes = sums.tolist()
    if not tokens:
        raise ValueError("no tokens to score")
    loss = nats / tokens
    return Evaluation(
        loss=loss,
        # e ** 709 is finite in fp64, e ** 710 is not.
        perplexity=math.exp(loss) if loss < 709 else math.inf,
        bits_per_byte=text_nats / math.log(2) / text_bytes if text_bytes else None,
        tokens=int(tokens),
        bytes=None if scoring.byte_lengths_V is None else int(text_bytes),
    )


def choose_windows(ids: int, context: int, stride: int, most: int) -> Int64:
    """The numbers of the windows to score in a stream of so many `ids`, (W,) in int64.

    These are all windows, or `most` of them (if not 0), spread evenly. Window w has `context` targets, from id
    w * stride on.
    """
    if not ids:
        return np.arange(0)
    windows = 1 + max(0, -(-(ids - context) // stride))
    chosen = min(most or windows, windows)
    return np.arange(chosen) * windows // chosen


def cut_windows(ids_N: Ids, windows_B: Int64, context: int, stride: int, end_of_text: int) -> tuple[Int64, Bool]:
    """The ids of windows, (B, context + 1) in int64, and whether each target counts, (B, context).

    A window's ids are its inputs and its last target. Each id of the stream counts once, in the first window that has
    it as a target; in a window with the number -1 no target counts. Positions beyond the stream hold end-of-text
    tokens, which no earlier token sees.
    """
    starts_B1 = windows_B[:, None] * stride
    positions_BT = starts_B1 + np.arange(-1, context)  # in the stream; -1 is the end-of-text token before it
    rows_BT = np.asarray(ids_N[positions_BT.clip(0, len(ids_N) - 1)]).astype(np.int64)
    rows_BT[(positions_BT < 0) | (positions_BT >= len(ids_N))] = end_of_text
    targets_BT = positions_BT[:, 1:]
    first_B1 = np.where(starts_B1 > 0, starts_B1 + context - stride, 0)  # the first target that no earlier window has
    counted_BT = (targets_BT >= first_B1) & (targets_BT < len(ids_N)) & (windows_B >= 0)[:, None]
    return rows_BT, counted_BT


# --- a run and folders of shards ---------------------------------------------------------------------------


class ScoredStream(NamedTuple):
    """A stream that has a row of its own in the table."""

    name: str
    part: str  # "held-out" (the documents that the run was not trained on) or "all"
    ids_N: Ids


class Score(NamedTuple):
    """A row of the table: the scores on one stream, or on all."""

    name: str
    part: str
    scores: Evaluation

    def as_dict(self) -> dict[str, Any]:
        """The row as `model eval --json` prints it."""
        return {"name": self.name, "part": self.part, **self.scores._asdict()}


def evaluate_data(
    model: GPT,
    state: dict[str, Any],
    run: Path,
    tokenizer: Tokenizer | None,
    folders: Sequence[tuple[str, Path]],
    by_shard: bool = False,
    stride: int = 0,
    most_windows: int = 0,
) -> tuple[list[Score], Score]:
    """Score the model of `run` on named folders of shards.

    `state` is what `load_model` returns with the model. Returns a row for each stream (see `streams_of`), and the row
    of all streams together. Raises ValueError naming the folder if its shards come from another tokenizer or hold no
    tokens, and for a stride above the context.
    """
    device, context = model.embedding.weight.device, model.config.context
    stride_tokens = Scoring(0, 1, stride=stride).stride_of(context)  # an error should come before large reads
    rows, total = [], torch.zeros(4, dtype=torch.float64)
    parts = set()
    for name, folder in folders:
        shards = read_shards(folder)
        check_tokenizer(folder, shards[0], model, state, tokenizer)
        scoring = Scoring(
            end_of_text=shards[0].end_of_text,
            micro_batch=max(1, micro_batch_tokens(device, model.config) // context),
            byte_lengths_V=tokenizer.byte_lengths if tokenizer else None,
            doc_mask=bool((state.get("train") or {}).get("doc_mask", False)),
            stride=stride_tokens,
            most_windows=most_windows,
        )
        streams = [stream for stream in streams_of(name, folder, shards, run, state, by_shard) if len(stream.ids_N)]
        if not streams:
            raise ValueError(f"{folder}: holds no tokens to score")
        for stream in streams:
            sums = sum_losses(model, stream.ids_N, scoring).cpu()
            rows.append(Score(stream.name, stream.part, summarise(sums, scoring)))
            total += sums
            parts.add(stream.part)
    return rows, Score("total", parts.pop() if len(parts) == 1 else "", summarise(total, scoring))


def check_tokenizer(
    folder: Path, shard: TokenShard, model: GPT, state: dict[str, Any], tokenizer: Tokenizer | None
) -> None:
    """Raises ValueError naming `folder` if `shard`, one of its shards, has another tokenizer than the run."""
    known = (state.get("data") or {}).get("tokenizer_hash") or (tokenizer.vocabulary.hash if tokenizer else None)
    if known and shard.tokenizer_hash != known:
        raise ValueError(
            f"{folder}: made by tokenizer {shard.tokenizer_hash[:12]}, the run by {known[:12]}; "
            "tokenize it with the run's"
        )
    if shard.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"{folder}: has a vocabulary of {shard.vocab_size}, the run one of {model.config.vocab_size}; "
            "tokenize it with the run's"
        )


def streams_of(
    name: str, folder: Path, shards: list[TokenShard], run: Path, state: dict[str, Any], by_shard: bool
) -> list[ScoredStream]:
    """The streams of a folder of `shards`: one for each shard, one for each sub-folder, or one for all.

    If the run was trained on this very folder, the streams have its held-out documents only; else all documents.
    """
    fraction = (state.get("train") or {}).get("validation_fraction", 0.0)
    trained_on = (state.get("data") or {}).get("fingerprint")
    held_out = fraction > 0 and fingerprint_of(shards, fraction) == trained_on
    stream = open_stream(folder, run, fraction if held_out else 0.0)
    part, ids_N = ("held-out", stream.held_out_N) if held_out else ("all", stream.train_N)
    paths = [shard.path.relative_to(folder).with_suffix("") for shard in shards]
    labels = [path.as_posix() if by_shard else path.parts[0] if path.parent.name else "." for path in paths]
    if len(set(labels)) == 1:
        return [ScoredStream(name, part, ids_N)]
    lengths = held_out_lengths(folder, fraction) if held_out else [shard.tokens + shard.rows for shard in shards]
    ends = np.cumsum(lengths)
    pieces: dict[str, list[Ids]] = {}
    for label, length, end in zip(labels, lengths, ends, strict=True):
        pieces.setdefault(label, []).append(ids_N[end - length : end])
    return [ScoredStream(f"{name}/{label}", part, _joined(arrays)) for label, arrays in pieces.items()]


def _joined(pieces: list[Ids]) -> Ids:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def score_lines(rows: Sequence[Score], total: Score) -> list[str]:
    """The lines of a table of scores, with the total below if there is more than one row."""
    cells = [("data", "part", "tokens", "bytes", "loss", "perplexity", "bits a byte")]
    for name, part, scores in [*rows, total] if len(rows) > 1 else rows:
        text_bytes = "-" if scores.bytes is None else f"{scores.bytes:,}"
        per_byte = "-" if scores.bits_per_byte is None else f"{scores.bits_per_byte:.4f}"
        figures = (f"{scores.tokens:,}", text_bytes, f"{scores.loss:.4f}", f"{scores.perplexity:,.2f}", per_byte)
        cells.append((name, part, *figures))
    return table(cells)
