"""Multiple choice: a context, several endings, and the question which of them the model finds likeliest.

A file has a JSON object a line, in one of these forms:

    {"activity_label": .., "ctx_a": .., "ctx_b": .., "endings": [..], "label": 1}      HellaSwag (arXiv:1905.07830)
    {"ctx": .., "endings": [..], "label": 1}                                           HellaSwag, plain
    {"query": .., "choices": [..], "gold": 1}     or "question" and "answer"           a plain question
    {"question": .., "choices": {"text": [..], "label": [..]}, "answerKey": "B"}       ARC (arXiv:1803.05457)
    {"question_stem": .., "choices": {..}, "answerKey": "B"}                           OpenBookQA (arXiv:1809.02789)

Texts are put together as lm-evaluation-harness does (https://github.com/EleutherAI/lm-evaluation-harness, its tasks of
these names, without examples): of HellaSwag's first form the context is "label: ctx_a Ctx_b" and marks in brackets,
left over from WikiHow, are removed; ARC's question stands between "Question: " and "Answer:". The plain form is taken
as it is, which is how llm.c and nanoGPT's descendants score (https://github.com/karpathy/llm.c, dev/data/hellaswag.py).

Context, a space and an ending are encoded as one text, so that the ids are those that the tokenizer gives such a text
anywhere; the ending's are those that reach beyond the context's last byte. An end of text goes before them, as in
training (the harness and llm.c put none before GPT-2's contexts); what is longer than the model's context loses its
beginning.

`acc` takes the ending with the highest log-likelihood, `acc_norm` that with the highest a character, `acc_bytes` a byte
(the harness's names; the last two differ only where a text is not ASCII). Endings of similar length are scored
together, padded on the right, which no earlier place sees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpe.texts import utf8
from model.attention import kernels
from model.device import autocast, micro_batch_tokens, to_device
from model.gpt import GPT
from model.table import table
from model.tokenizer import Tokenizer

# Where a context may stand, and what surrounds it if the choices have letters.
FIELDS = {"query": "{}", "question": "Question: {}\nAnswer:", "question_stem": "{}"}
TILE = 64  # lengths are padded to a multiple of this: few shapes, each of which a GPU may have to compile for

Bool = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class Example(NamedTuple):
    context: str
    endings: tuple[str, ...]  # each follows the context and a space
    label: int  # of the right one


class Choices(NamedTuple):
    """How often the right ending was taken, with the standard error of that mean (None for one example)."""

    examples: int
    acc: float
    acc_stderr: float | None
    acc_norm: float
    acc_norm_stderr: float | None
    acc_bytes: float
    acc_bytes_stderr: float | None
    chance: float  # mean of 1 / endings
    shortened: int  # texts that were longer than the model's context


class Row(NamedTuple):
    """A context and an ending as the model sees them."""

    ids: list[int]  # an end of text, the context's, the ending's
    scored: int  # how many of them, at the end, are the ending's


# --- the file ----------------------------------------------------------------------------------------------


def read_examples(path: Path) -> list[Example]:
    """The examples of a file. Raises OSError, or ValueError naming the file, the line and what is wrong with it."""
    examples = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    examples.append(parse_example(line))
                except ValueError as error:
                    raise ValueError(f"{path}, line {number}: {error}") from error
    if not examples:
        raise ValueError(f"{path}: holds no examples")
    return examples


def parse_example(line: bytes) -> Example:
    """The example on a line. Raises ValueError saying what is missing or wrong."""
    try:
        row = json.loads(line)
    except ValueError as error:  # not UTF-8, or not JSON
        raise ValueError("not a JSON object") from error
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    if "endings" in row:
        return _hellaswag(row)
    for field, template in FIELDS.items():
        if field in row:
            context = _text(row, field)
            if isinstance(row.get("choices"), dict):
                return _lettered(row, template.format(context))
            endings = _texts(row, "choices")
            return Example(context, endings, _label(row, "answer" if "answer" in row else "gold", endings))
    raise ValueError(f"has none of the fields endings, {', '.join(FIELDS)}")


def _hellaswag(row: Mapping[str, Any]) -> Example:
    endings = _texts(row, "endings")
    if not {"activity_label", "ctx_a", "ctx_b"} <= row.keys():
        return Example(_text(row, "ctx"), endings, _label(row, "label", endings))
    label, first, second = (_text(row, field) for field in ("activity_label", "ctx_a", "ctx_b"))
    context = f"{label}: {first} {second.capitalize()}"
    return Example(clean(context), tuple(map(clean, endings)), _label(row, "label", endings))


def clean(text: str) -> str:
    """HellaSwag's texts without the marks of WikiHow pages, to the letter as lm-evaluation-harness has them."""
    unmarked = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return unmarked.replace("  ", " ")


def _lettered(row: Mapping[str, Any], context: str) -> Example:
    """An example whose choices have letters or numbers, one of which is the answer."""
    endings, letters = _texts(row["choices"], "text"), _texts(row["choices"], "label")
    answer = _text(row, "answerKey")
    if len(letters) != len(endings) or answer not in letters:
        raise ValueError(f"answerKey: {answer!r} should be one of the {len(endings)} labels of the choices")
    return Example(context, endings, letters.index(answer))


def _text(row: Mapping[str, Any], field: str) -> str:
    if not isinstance(row.get(field), str):
        raise ValueError(f"{field}: should be a text" if field in row else f"{field} is missing")
    text: str = row[field]
    return text


def _texts(row: Mapping[str, Any], field: str) -> tuple[str, ...]:
    texts = row.get(field)
    if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"{field}: should be two or more texts" if field in row else f"{field} is missing")
    return tuple(texts)


def _label(row: Mapping[str, Any], field: str, endings: Sequence[str]) -> int:
    label = row.get(field)
    if field not in row or label == "":
        raise ValueError(f"{field} is missing (test sets are often published without)")
    if isinstance(label, str) and label.isdecimal():
        label = int(label)
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(endings):
        raise ValueError(f"{field}: {label!r} should be a number from 0 to {len(endings) - 1}")
    return label


# --- the scores --------------------------------------------------------------------------------------------


def evaluate_choices(model: GPT, tokenizer: Tokenizer, examples: Sequence[Example]) -> Choices:
    """Let the model choose in each example."""
    rows = [encode(tokenizer, example.context, ending) for example in examples for ending in example.endings]
    most = model.config.context + 1  # the last id is a target only
    fitting = [Row(row.ids[-most:], min(row.scored, most - 1)) for row in rows]
    likelihoods = log_likelihoods(model, fitting, tokenizer.vocabulary.end_of_text)
    return count_choices(examples, likelihoods, sum(len(row.ids) > most for row in rows))


def encode(tokenizer: Tokenizer, context: str, ending: str) -> Row:
    ids = tokenizer.encode(f"{context} {ending}")
    ends = np.cumsum(tokenizer.byte_lengths[ids])
    return Row([tokenizer.vocabulary.end_of_text, *ids], int((ends > len(utf8(context))).sum()))


@torch.no_grad()
def log_likelihoods(model: GPT, rows: Sequence[Row], padding: int) -> Float64:
    """Of each row's ending, in nats, summed over its tokens. `padding` is any id."""
    device, context = model.embedding.weight.device, model.config.context
    order_N = np.argsort([-len(row.ids) for row in rows], kind="stable")
    sums = torch.zeros(len(rows), dtype=torch.float64, device=device)
    start = 0
    while start < len(rows):
        longest = len(rows[order_N[start]].ids) - 1
        length = min(-(-longest // TILE) * TILE, context)
        numbers = order_N[start : start + max(1, micro_batch_tokens(device, model.config) // length)]
        ids, scored = padded([rows[number] for number in numbers], length, padding)
        ids_BT, scored_BT = to_device(ids, device), to_device(scored, device)
        with kernels(device), autocast(device):
            nats_BT: Tensor = model(ids_BT[:, :-1], ids_BT[:, 1:], reduction="none")
        sums[start : start + len(numbers)] = -torch.where(scored_BT, nats_BT.double(), 0.0).sum(1)
        start += len(numbers)
    likelihoods = np.empty(len(rows))
    likelihoods[order_N] = sums.cpu().numpy()  # the only time that the device is waited for
    return likelihoods


def padded(rows: Sequence[Row], length: int, padding: int) -> tuple[Int64, Bool]:
    """Ids, (B, length + 1), the inputs and the last target, and which of the targets are the endings', (B, length)."""
    ids = np.full((len(rows), length + 1), padding)
    scored = np.zeros((len(rows), length), np.bool_)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = row.ids
        scored[place, len(row.ids) - 1 - row.scored : len(row.ids) - 1] = True
    return ids, scored


def count_choices(examples: Sequence[Example], likelihoods: Float64, shortened: int = 0) -> Choices:
    """What the endings' log-likelihoods, in order, come to. Of equally good ones the first is taken."""
    right = []
    start = 0
    for example in examples:
        own_N = likelihoods[start : start + len(example.endings)]
        start += len(example.endings)
        characters_N = np.array([max(1, len(ending)) for ending in example.endings])
        bytes_N = np.array([max(1, len(utf8(ending))) for ending in example.endings])
        taken = [int(scores_N.argmax()) for scores_N in (own_N, own_N / characters_N, own_N / bytes_N)]
        right.append([choice == example.label for choice in taken])
    (acc, error), (acc_norm, norm_error), (acc_bytes, bytes_error) = map(mean_and_error, np.array(right).T)
    chance = float(np.mean([1 / len(example.endings) for example in examples]))
    return Choices(
        len(examples), acc, error, acc_norm, norm_error, acc_bytes, bytes_error, chance=chance, shortened=shortened
    )


def mean_and_error(right_N: npt.NDArray[np.bool_]) -> tuple[float, float | None]:
    """The share of right ones, and its standard error: sqrt(p (1 - p) / (n - 1)), as the harness has it."""
    share, count = float(right_N.mean()), len(right_N)
    return share, (share * (1 - share) / (count - 1)) ** 0.5 if count > 1 else None


def choice_lines(counts: Sequence[tuple[str, Choices]]) -> list[str]:
    """The table, a row a file."""
    shown: list[tuple[str, ...]] = [("choices", "examples", "chance", "acc", "acc_norm", "acc_bytes")]
    for name, of in counts:
        pairs = ((of.acc, of.acc_stderr), (of.acc_norm, of.acc_norm_stderr), (of.acc_bytes, of.acc_bytes_stderr))
        shares = (f"{share:.2%}" + ("" if error is None else f" ± {error:.2%}") for share, error in pairs)
        shown.append((name, f"{of.examples:,}", f"{of.chance:.2%}", *shares))
    return table(shown)
