"""How well a model predicts windows of a stream: nats a token, perplexity and bits a byte.

Bits a byte divides the information by the length of the text instead of the number of tokens, so that
models with different tokenizers can be compared. Tokens that stand for no text (end of text) count on
neither side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from model.checkpoint import load_model
from model.config import TrainConfig
from model.data import Batches, Int64, make_batches, open_stream
from model.device import MICRO_BATCH_TOKENS, autocast, pick_device, to_device
from model.gpt import GPT
from model.tokenizer import run_tokenizer


class Evaluation(NamedTuple):
    loss: float  # mean nats a token
    perplexity: float
    bits_per_byte: float | None  # None where the bytes of the tokens are not known
    tokens: int
    bytes: int | None


@torch.no_grad()
def evaluate(
    model: GPT, batches: Batches, windows_N: Int64, micro_batch: int, byte_lengths_V: Int64 | None = None
) -> Evaluation:
    """Score the targets of `windows_N`, `micro_batch` windows at a time.

    `byte_lengths_V` gives the bytes of text that each id stands for, 0 for those that stand for none.
    """
    device = model.embedding.weight.device
    nats = text_nats = 0.0
    text_bytes = 0
    for first in range(0, len(windows_N), micro_batch):
        x_BT, y_BT = batches.windows(windows_N[first : first + micro_batch])
        with autocast(device):
            loss_BT = model(to_device(x_BT, device), to_device(y_BT, device), reduction="none")
        loss_BT = loss_BT.double().cpu().numpy()
        nats += float(loss_BT.sum())
        if byte_lengths_V is not None:
            lengths_BT = byte_lengths_V[y_BT]
            text_bytes += int(lengths_BT.sum())
            text_nats += float(loss_BT[lengths_BT > 0].sum())
    tokens = len(windows_N) * batches.context
    loss = nats / tokens
    return Evaluation(
        loss=loss,
        # e**709 is the last finite double
        perplexity=math.exp(loss) if loss < 709 else math.inf,
        bits_per_byte=text_nats / math.log(2) / text_bytes if text_bytes else None,
        tokens=tokens,
        bytes=text_bytes if byte_lengths_V is not None else None,
    )


def evaluate_run(
    run: Path, data: Path, most_windows: int, device_name: str, log: Callable[[str], None]
) -> tuple[str, Evaluation]:
    """Score the newest checkpoint of `run` on up to `most_windows` windows (0: all) of `data`.

    Returns "held-out" with the scores of the held-out windows if the run was trained on this very data,
    else "all". Raises ValueError if the data was made by another tokenizer.
    """
    device = pick_device(device_name)
    model, state = load_model(run, device, log)
    stream = open_stream(data, run)
    trained = state["data"]
    if stream.tokenizer_hash != trained["tokenizer_hash"]:
        raise ValueError(
            f"{data}: made by tokenizer {stream.tokenizer_hash[:12]}, the run by "
            f"{trained['tokenizer_hash'][:12]}; tokenize it with the run's"
        )
    config = TrainConfig(**state["train"])
    context = model.config.context
    batches = make_batches(stream, context, context, config.validation_fraction, config.seed)
    if stream.fingerprint == trained["fingerprint"]:
        part, windows_N = "held-out", batches.validation(most_windows or batches.validation_windows)
    else:
        count = batches.train_windows + batches.validation_windows
        most = min(most_windows or count, count)
        part, windows_N = "all", np.arange(most) * count // most
    tokenizer = run_tokenizer(run)
    lengths_V = tokenizer.byte_lengths if tokenizer else None
    micro_batch = max(1, MICRO_BATCH_TOKENS[device.type] // context)
    return part, evaluate(model, batches, windows_N, micro_batch, lengths_V)
