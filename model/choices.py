"""Multiple choice: how often the model finds the right one of several endings of a context the likeliest.

A file has one question a line, a JSON object in one of these forms:

    {"activity_label": .., "ctx_a": .., "ctx_b": .., "endings": [..], "label": 1}      HellaSwag (arXiv:1905.07830)
    {"ctx": .., "endings": [..], "label": 1}                                           HellaSwag, plain
    {"query": .., "choices": [..], "gold": 1}     or "question" and "answer"           a plain question
    {"question": .., "choices": {"text": [..], "label": [..]}, "answerKey": "B"}       ARC (arXiv:1803.05457)
    {"question_stem": .., "choices": {..}, "answerKey": "B"}                           OpenBookQA (arXiv:1809.02789)

Texts are composed as in lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness, its tasks of these
names without examples). For HellaSwag's first form the context is "label: ctx_a Ctx_b", and marks in brackets, which
come from WikiHow, are removed. ARC's question stands between "Question: " and "Answer:". The texts of a plain form are
unchanged, as llm.c and the descendants of nanoGPT score them (https://github.com/karpathy/llm.c,
dev/data/hellaswag.py).

Context, a space and an ending are encoded as one text, so that the tokenizer splits it like any text. The ending's ids
are those that reach beyond the last byte of the context. An end-of-text token goes before the text, as in training; the
harness and llm.c put none before GPT-2's contexts. A text that is longer than the model's context loses its beginning.

`acc` chooses the ending with the highest log-likelihood, `acc_norm` divides it by the number of characters and
`acc_bytes` by the number of bytes. These are the harness's names; `acc_norm` and `acc_bytes` differ only for text that
is not ASCII. Endings of similar length are scored together, with padding on the right, which no earlier token sees.

Array names: N endings or questions, B texts of one forward pass, T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpe.parse import parse_json
from bpe.texts import utf8
from model.attention import kernels
from model.device import autocast, micro_batch_tokens, to_device
from model.gpt import GPT
from model.table import table
from model.tokenizer import Tokenizer

# The fields that may hold a context, and the text around it if the choices have letters.
FIELDS = {"query": "{}", "question": "Question: {}\nAnswer:", "question_stem": "{}"}
# Lengths are padded to a multiple of this, so that there are few shapes: PyTorch may compile kernels for each.
TILE = 64

Bool = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class Question(NamedTuple):
    """A context and its endings."""

    context: str
    endings: tuple[str, ...]  # each follows the context and a space
    label: int  # number of the right ending, from 0


class Choices(NamedTuple):
    """How often the model chose the right ending, with the standard error of that mean (None for one question).

    `model eval --json` prints it.
    """

    examples: int  # questions
    acc: float
    acc_stderr: float | None
    acc_norm: float
    acc_norm_stderr: float | None
    acc_bytes: float
    acc_bytes_stderr: float | None
    chance: float  # mean over the questions of 1 / number of endings
    shortened: int  # texts that were longer than the model's context


class EncodedEnding(NamedTuple):
    """A context and one of its endings, as the model sees them."""

    ids: list[int]  # an end-of-text token, the context, the ending
    scored: int  # number of ids, at the end, that belong to the ending


# --- the file ----------------------------------------------------------------------------------------------


def read_questions(path: Path) -> list[Question]:
    """The questions of a file. Raises OSError, or ValueError naming the file, the line and what is wrong with it."""
    questions = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    questions.append(parse_question(line))
                except ValueError as error:
                    raise ValueError(f"{path}, line {number}: {error}") from error
    if not questions:
        raise ValueError(f"{path}: holds no examples")
    return questions


def parse_question(line: bytes) -> Question:
    """The question on a line. Raises ValueError saying what is missing or wrong."""
    try:
        row = parse_json(line)
    except ValueError as error:
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
            return Question(context, endings, _label(row, "answer" if "answer" in row else "gold", endings))
    raise ValueError(f"has none of the fields endings, {', '.join(FIELDS)}")


def _hellaswag(row: Mapping[str, Any]) -> Question:
    endings = _texts(row, "endings")
    if not {"activity_label", "ctx_a", "ctx_b"} <= row.keys():
        return Question(_text(row, "ctx"), endings, _label(row, "label", endings))
    activity, first, second = (_text(row, field) for field in ("activity_label", "ctx_a", "ctx_b"))
    context = f"{activity}: {first} {second.capitalize()}"
    return Question(clean(context), tuple(map(clean, endings)), _label(row, "label", endings))


def clean(text: str) -> str:
    """A text of HellaSwag without the marks of WikiHow pages, exactly as lm-evaluation-harness cleans it."""
    unmarked = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return unmarked.replace("  ", " ")


def _lettered(row: Mapping[str, Any], context: str) -> Question:
    """A question whose choices have letters or numbers, one of which is the answer."""
    endings, letters = _texts(row["choices"], "text"), _texts(row["choices"], "label")
    answer = _text(row, "answerKey")
    if len(letters) != len(endings) or answer not in letters:
        raise ValueError(f"answerKey: {answer!r} should be one of the {len(endings)} labels of the choices")
    return Question(context, endings, letters.index(answer))


def _text(row: Mapping[str, Any], field: str) -> str:
    """The text in a field; raises ValueError if it is missing or no text."""
    if not isinstance(row.get(field), str):
        raise ValueError(f"{field}: should be a text" if field in row else f"{field} is missing")
    text: str = row[field]
    return text


def _texts(row: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """The texts in a field; raises ValueError unless it holds at least two."""
    texts = row.get(field)
    if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"{field}: should be two or more texts" if field in row else f"{field} is missing")
    return tuple(texts)


def _label(row: Mapping[str, Any], field: str, endings: Sequence[str]) -> int:
    """The number of the right ending in a field, a number or its digits; raises ValueError if there is none."""
    label = row.get(field)
    if field not in row or label == "":
        raise ValueError(f"{field} is missing (test sets are often published without)")
    if isinstance(label, str) and label.isdecimal():
        label = int(label)
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(endings):
        raise ValueError(f"{field}: {label!r} should be a number from 0 to {len(endings) - 1}")
    return label


# --- the scores --------------------------------------------------------------------------------------------


def evaluate_choices(model: GPT, tokenizer: Tokenizer, questions: Sequence[Question]) -> Choices:
    """Let the model choose an ending for each question."""
    encoded = [encode(tokenizer, question.context, ending) for question in questions for ending in question.endings]
    most = model.config.context + 1  # the last id is a target only
    fitting = [EncodedEnding(text.ids[-most:], min(text.scored, most - 1)) for text in encoded]
    likelihoods_N = log_likelihoods(model, fitting, tokenizer.vocabulary.end_of_text)
    return count_choices(questions, likelihoods_N, sum(len(text.ids) > most for text in encoded))


def encode(tokenizer: Tokenizer, context: str, ending: str) -> EncodedEnding:
    """The ids of a context and an ending."""
    ids = tokenizer.encode(f"{context} {ending}")
    ends_T = np.cumsum(tokenizer.byte_lengths[ids])  # the byte at which each token ends
    return EncodedEnding([tokenizer.vocabulary.end_of_text, *ids], int((ends_T > len(utf8(context))).sum()))


@torch.no_grad()
def log_likelihoods(model: GPT, texts: Sequence[EncodedEnding], padding: int) -> Float64:
    """The log-likelihood of each ending, the sum over its tokens in nats, (N,). `padding` may be any id."""
    device, context = model.embedding.weight.device, model.config.context
    order_N = np.argsort([-len(text.ids) for text in texts], kind="stable")
    sums_N = torch.zeros(len(texts), dtype=torch.float64, device=device)
    start = 0
    while start < len(texts):
        longest = len(texts[order_N[start]].ids) - 1
        length = min(-(-longest // TILE) * TILE, context)
        numbers_B = order_N[start : start + max(1, micro_batch_tokens(device, model.config) // length)]
        ids, scored = padded([texts[number] for number in numbers_B], length, padding)
        ids_BT, scored_BT = to_device(ids, device), to_device(scored, device)
        with kernels(device), autocast(device):
            nats_BT: Tensor = model(ids_BT[:, :-1], ids_BT[:, 1:], reduction="none")
        sums_N[start : start + len(numbers_B)] = -torch.where(scored_BT, nats_BT.double(), 0.0).sum(1)
        start += len(numbers_B)
    likelihoods_N = np.empty(len(texts))
    likelihoods_N[order_N] = sums_N.cpu().numpy()  # only here the CPU waits for the device
    return likelihoods_N


def padded(texts: Sequence[EncodedEnding], length: int, padding: int) -> tuple[Int64, Bool]:
    """The padded ids, (B, length + 1), and whether each target belongs to an ending, (B, length).

    A row of ids is the inputs and the last target.
    """
    ids_BT = np.full((len(texts), length + 1), padding)
    scored_BT = np.zeros((len(texts), length), np.bool_)
    for row, text in enumerate(texts):
        ids_BT[row, : len(text.ids)] = text.ids
        scored_BT[row, len(text.ids) - 1 - text.scored : len(text.ids) - 1] = True
    return ids_BT, scored_BT


def count_choices(questions: Sequence[Question], likelihoods_N: Float64, shortened: int = 0) -> Choices:
    """Count the right choices, from the log-likelihoods of all questions' endings, in order.

    If several endings are the likeliest, the first of them is chosen.
    """
    right = []
    start = 0
    for question in questions:
        nats_E = likelihoods_N[start : start + len(question.endings)]
        start += len(question.endings)
        characters_E = np.array([max(1, len(ending)) for ending in question.endings])
        bytes_E = np.array([max(1, len(utf8(ending))) for ending in question.endings])
        chosen = [int(scores_E.argmax()) for scores_E in (nats_E, nats_E / characters_E, nats_E / bytes_E)]
        right.append([number == question.label for number in chosen])
    (acc, error), (acc_norm, norm_error), (acc_bytes, bytes_error) = map(mean_and_error, np.array(right).T)
    chance = float(np.mean([1 / len(question.endings) for question in questions]))
    return Choices(
        len(questions), acc, error, acc_norm, norm_error, acc_bytes, bytes_error, chance=chance, shortened=shortened
    )


def mean_and_error(right_N: npt.NDArray[np.bool_]) -> tuple[float, float | None]:
    """The share of right choices, and its standard error as in the harness: sqrt(p (1 - p) / (n - 1))."""
    share, count = float(right_N.mean()), len(right_N)
    return share, (share * (1 - share) / (count - 1)) ** 0.5 if count > 1 else None


def choice_lines(results: Sequence[tuple[str, Choices]]) -> list[str]:
    """The lines of a table with a row for each file: its name and the choices made in it."""
    cells: list[tuple[str, ...]] = [("choices", "examples", "chance", "acc", "acc_norm", "acc_bytes")]
    for name, choices in results:
        pairs = (
            (choices.acc, choices.acc_stderr),
            (choices.acc_norm, choices.acc_norm_stderr),
            (choices.acc_bytes, choices.acc_bytes_stderr),
        )
        shares = (f"{share:.2%}" + ("" if error is None else f" ± {error:.2%}") for share, error in pairs)
        cells.append((name, f"{choices.examples:,}", f"{choices.chance:.2%}", *shares))
    return table(cells)
