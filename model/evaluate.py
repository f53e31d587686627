"""How well a model predicts streams of ids: nats a token, perplexity and bits a byte.

Every id of a stream is a target once. An end of text goes before the first, as in training and sampling; the stream is
then cut into windows of the model's context, of which the last may be shorter, so that nothing is left out. The first
tokens of a window are predicted from little. With a `stride` below the context windows overlap, and of each only the
tokens count that no earlier one had: all but the first window's then see at least context - stride tokens before
them, as is the custom where perplexities are compared, at context / stride times the cost.

Bits a byte divides the information by the length of the text instead of the number of tokens, so that models with
different tokenizers can be compared (nanochat's `loss_eval.py`). Targets that stand for no text (end of text) count on
neither side. The figures of several streams together are those of all their tokens and bytes, not a mean of means.

Sums are kept on the model's device in fp64 and read once: nothing waits for a part of the windows.
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
from model.stream import Shard, fingerprint_of, held_out_lengths, open_stream, read_shards
from model.table import table
from model.tokenizer import Tokenizer

Ids = npt.NDArray[Any]  # uint16, uint32 or int64
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


class Evaluation(NamedTuple):
    loss: float  # mean nats a token, end of text included
    perplexity: float
    bits_per_byte: float | None  # None where the bytes of the tokens are not known, or are none
    tokens: int
    bytes: int | None


@dataclass(frozen=True)
class Scoring:
    """How a stream is scored."""

    end_of_text: int
    micro_batch: int  # windows in one forward pass
    byte_lengths_V: Int64 | None = None  # bytes of text that each id stands for, 0 for those that stand for none
    doc_mask: bool = False  # attention stays within a document, as the model was trained
    stride: int = 0  # tokens from one window's start to the next one's; 0: the context
    most_windows: int = 0  # spread evenly over the stream; 0: all

    def stride_of(self, context: int) -> int:
        """The stride in tokens. Raises ValueError for one that leaves tokens out."""
        if not 0 <= self.stride <= context:
            raise ValueError(f"stride = {self.stride}: should be at most the context, {context}; 0 takes the context")
        return self.stride or context


# --- a stream ----------------------------------------------------------------------------------------------


def evaluate(model: GPT, ids_N: Ids, scoring: Scoring) -> Evaluation:
    """Score the ids of a stream, each from those before it. Raises ValueError if there are none."""
    return summarise(sum_losses(model, ids_N, scoring), scoring)


@torch.no_grad()
def sum_losses(model: GPT, ids_N: Ids, scoring: Scoring, rank: int = 0, world: int = 1) -> Tensor:
    """Nats, tokens, nats of text and bytes of text, fp64 on the model's device: the share of process `rank`.

    The sum over all ranks is that of one process. Each rank makes as many forward passes, all of one shape, so that
    layers which are spread over the processes find all of them there.
    """
    device, context = model.embedding.weight.device, model.config.context
    stride = scoring.stride_of(context)
    lengths_V = None
    if scoring.byte_lengths_V is not None:
        lengths_V = to_device(scoring.byte_lengths_V, device)
    windows_N = choose_windows(len(ids_N), context, stride, scoring.most_windows)
    together = scoring.micro_batch * world
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    for first in range(0, len(windows_N), together):
        start = first + rank * scoring.micro_batch
        mine_B = np.full(scoring.micro_batch, -1)
        taken_B = windows_N[start : start + scoring.micro_batch]
        mine_B[: len(taken_B)] = taken_B
        rows, counted = cut_windows(ids_N, mine_B, context, stride, scoring.end_of_text)
        rows_BT, counted_BT = to_device(rows, device), to_device(counted, device)
        x_BT, y_BT = rows_BT[:, :-1], rows_BT[:, 1:]
        with kernels(device), autocast(device):
            end_of_text = scoring.end_of_text if scoring.doc_mask else None
            nats_BT = model(x_BT, y_BT, reduction="none", end_of_text=end_of_text)
        sums += _sums(nats_BT.double(), y_BT, counted_BT, lengths_V)
    return sums


def _sums(nats_BT: Tensor, y_BT: Tensor, counted_BT: Tensor, lengths_V: Tensor | None) -> Tensor:
    """Those of `sum_losses`, of one forward pass."""
    lengths_BT = torch.zeros_like(y_BT) if lengths_V is None else lengths_V[y_BT] * counted_BT
    nats, text_nats = (torch.where(which_BT, nats_BT, 0.0).sum() for which_BT in (counted_BT, lengths_BT > 0))
    return torch.stack((nats, counted_BT.sum(), text_nats, lengths_BT.sum()))


def summarise(sums: Tensor, scoring: Scoring) -> Evaluation:
    """What the four sums of `sum_losses`, perhaps added over processes or streams, come to.

    Raises ValueError if no token was scored.
    """
    nats, tokens, text_nats, text_bytes = sums.tolist()
    if not tokens:
        raise ValueError("no tokens to score")
    loss = nats / tokens
    return Evaluation(
        loss=loss,
        # e**709 is the last finite double
        perplexity=math.exp(loss) if loss < 709 else math.inf,
        bits_per_byte=text_nats / math.log(2) / text_bytes if text_bytes else None,
        tokens=int(tokens),
        bytes=None if scoring.byte_lengths_V is None else int(text_bytes),
    )


def choose_windows(ids: int, context: int, stride: int, most: int) -> Int64:
    """The numbers of all windows of a stream of so many ids, or of up to `most` (not 0) spread evenly over it.

    Window w holds the targets from w * stride on, up to the context's number.
    """
    if not ids:
        return np.arange(0)
    count = 1 + max(0, -(-(ids - context) // stride))
    taken = min(most or count, count)
    return np.arange(taken) * count // taken


def cut_windows(ids_N: Ids, windows_B: Int64, context: int, stride: int, end_of_text: int) -> tuple[Int64, Bool]:
    """Ids, (B, context + 1), the inputs and the last target of each window, and which of the targets count,
    (B, context); of window -1 none does.

    Over all windows each id of the stream counts once, in the first window that has it as a target. Places beyond the
    stream hold ends of text, which no earlier place sees.
    """
    starts_B1 = windows_B[:, None] * stride
    positions_BT = starts_B1 + np.arange(-1, context)  # of the ids, -1: before the first
    rows_BT = np.asarray(ids_N[positions_BT.clip(0, len(ids_N) - 1)]).astype(np.int64)
    rows_BT[(positions_BT < 0) | (positions_BT >= len(ids_N))] = end_of_text
    targets_BT = positions_BT[:, 1:]
    first_B1 = np.where(starts_B1 > 0, starts_B1 + context - stride, 0)  # that no earlier window has
    counted_BT = (targets_BT >= first_B1) & (targets_BT < len(ids_N)) & (windows_B >= 0)[:, None]
    return rows_BT, counted_BT


# --- a run and folders of shards ---------------------------------------------------------------------------


class Source(NamedTuple):
    """A stream that has a row of its own."""

    name: str
    part: str  # "held-out": documents that the run was not trained on; "all"
    ids_N: Ids


class Score(NamedTuple):
    """A row of the table."""

    name: str
    part: str
    scores: Evaluation

    def as_dict(self) -> dict[str, Any]:
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
    """Score the model of `run`, whose newest checkpoint's other half is `state`, on folders of shards with a name.

    Returns a row a source (see `find_sources`), and that of all of them together. Raises ValueError naming the folder
    if another tokenizer made it or it has nothing to score.
    """
    device, context = model.embedding.weight.device, model.config.context
    stride_tokens = Scoring(0, 1, stride=stride).stride_of(context)  # before anything large is read
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
        sources = [source for source in find_sources(name, folder, shards, run, state, by_shard) if len(source.ids_N)]
        if not sources:
            raise ValueError(f"{folder}: holds no tokens to score")
        for source in sources:
            sums = sum_losses(model, source.ids_N, scoring).cpu()
            rows.append(Score(source.name, source.part, summarise(sums, scoring)))
            total += sums
            parts.add(source.part)
    return rows, Score("total", parts.pop() if len(parts) == 1 else "", summarise(total, scoring))


def check_tokenizer(folder: Path, shard: Shard, model: GPT, state: dict[str, Any], tokenizer: Tokenizer | None) -> None:
    """Raises ValueError naming `folder` if the ids of its shards are not those that the model knows."""
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


def find_sources(
    name: str, folder: Path, shards: list[Shard], run: Path, state: dict[str, Any], by_shard: bool
) -> list[Source]:
    """The streams of a folder: one a sub-folder if its shards lie in several, one a shard if asked for, else one.

    Of the very data that the run was trained on, the held-out documents only; of other data, all.
    """
    fraction = (state.get("train") or {}).get("validation_fraction", 0.0)
    trained_on = (state.get("data") or {}).get("fingerprint")
    held_out = fraction > 0 and fingerprint_of(shards, fraction) == trained_on
    stream = open_stream(folder, run, fraction if held_out else 0.0)
    part, ids_N = ("held-out", stream.held_out_N) if held_out else ("all", stream.train_N)
    places = [shard.path.relative_to(folder).with_suffix("") for shard in shards]
    labels = [place.as_posix() if by_shard else place.parts[0] if place.parent.name else "." for place in places]
    if len(set(labels)) == 1:
        return [Source(name, part, ids_N)]
    lengths = held_out_lengths(folder, fraction) if held_out else [shard.tokens + shard.rows for shard in shards]
    ends = np.cumsum(lengths)
    pieces: dict[str, list[Ids]] = {}
    for label, length, end in zip(labels, lengths, ends, strict=True):
        pieces.setdefault(label, []).append(ids_N[end - length : end])
    return [Source(f"{name}/{label}", part, _joined(own)) for label, own in pieces.items()]


def _joined(pieces: list[Ids]) -> Ids:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def score_lines(rows: Sequence[Score], total: Score) -> list[str]:
    """The table, with the total below where there is more than one row."""
    shown = [("data", "part", "tokens", "bytes", "loss", "perplexity", "bits a byte")]
    for name, part, scores in [*rows, total] if len(rows) > 1 else rows:
        of_text = "-" if scores.bytes is None else f"{scores.bytes:,}"
        per_byte = "-" if scores.bits_per_byte is None else f"{scores.bits_per_byte:.4f}"
        figures = (f"{scores.tokens:,}", of_text, f"{scores.loss:.4f}", f"{scores.perplexity:,.2f}", per_byte)
        shown.append((name, part, *figures))
    return table(shown)
