"""A fastText model and texts -> the score of each text.

A model whose labels are whole numbers (`__label__0` to `__label__5`) gives grades: the score is the mean of the
numbers, weighted by their probabilities, and `quality_int_score` is the score rounded (FineWeb-Edu, Penedo et al. 2024,
arXiv 2406.17557, section 4). The score of any other model is the probability of the label that the settings name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.classifier.config import GRADE, SCORE, Config
from corpus.classifier.linear import Linear, multiply_out, probabilities
from corpus.schema import replace_column
from corpus.store.files import sha256
from corpus.text.fasttext_model import ALL, LABEL_PREFIX, load_model, predict

_MAGIC = (793712314).to_bytes(4, "little")  # the first bytes of a model file (fasttext.cc, FASTTEXT_FILEFORMAT)
_FIX = "give one of corpus classify train"


class Model(NamedTuple):
    """A loaded classifier.

    labels  its labels, in its own order
    grades  the labels as numbers; empty if one of them is not a whole number
    linear  the model multiplied out, which takes a fiftieth of the memory; None if that cannot be done
    binding fastText's own model, where `linear` is None
    """

    labels: list[str]
    grades: list[int]
    linear: Linear | None
    binding: Any


def load(config: Config) -> Model:
    """The model that the settings name. Raises ValueError if it does not exist, is no model or lacks the label."""
    if not Path(config.model).is_file():
        raise ValueError(f"{config.model}: no such model; train one with corpus classify train")
    model = _loaded(config.model)
    if config.label not in model.labels and not model.grades:
        raise ValueError(f"label = {config.label!r}: {config.model} has {', '.join(sorted(model.labels))}")
    return model


def _check_report(path: str) -> None:
    """Raises ValueError if the report of `corpus classify train` is beside the model and was written about another."""
    report = Path(path).with_suffix(".json")
    text = report.read_text("utf-8", "replace") if report.is_file() else ""
    written = re.search(r'"sha256": "([0-9a-f]{64})"', text)
    if written and written[1] != sha256(path):
        raise ValueError(f"{path}: its sha256 is not the one in {report.name}; train it again, or remove {report}")


def check_file(path: str) -> None:
    """Raises ValueError if the file is not a fastText model; only its first bytes are read."""
    with Path(path).open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{path}: not a fastText model; {_FIX}")


def columns(config: Config) -> list[pa.Field]:
    """The columns that scores add to DOCUMENTS."""
    return [pa.field(SCORE, pa.float64()), *([pa.field(GRADE, pa.int64())] if load(config).grades else [])]


def add_scores(batch: pa.RecordBatch, config: Config) -> pa.RecordBatch:
    """A DOCUMENTS batch with the columns of `columns`."""
    scores = score_texts(batch.column("text"), config)
    batch = replace_column(batch, SCORE, scores)
    if not load(config).grades:
        return batch
    return replace_column(batch, GRADE, pc.round(scores, round_mode="half_towards_infinity").cast(pa.int64()))


def score_texts(texts: pa.Array, config: Config) -> pa.Array:
    """float64[texts]: the score of each text; 0 for a text without a word."""
    model = load(config)
    weights = np.array([float(g) for g in model.grades] or [float(label == config.label) for label in model.labels])
    by_label = probabilities(texts, model.linear) if model.linear else _predicted(texts, model.labels, model.binding)
    total = by_label.sum(axis=1) if model.grades else 1.0  # 1 but for rounding
    scores = np.minimum((by_label * weights).sum(axis=1) / np.maximum(total, 1e-9), max(1.0, weights.max()))
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(texts, ""))), 0)
    return pc.if_else(blank, 0.0, pa.array(scores, pa.float64()))


def _predicted(texts: pa.Array, labels: Sequence[str], binding: Any) -> NDArray[np.float64]:
    """float64[texts, labels]: the probabilities from fastText itself, for a model that cannot be multiplied out."""
    rows = [{label: value for value, label in predict(binding, text or "", ALL)} for text in texts.to_pylist()]
    return np.array([[row.get(label, 0.0) for label in labels] for row in rows]).reshape(len(rows), len(labels))


@lru_cache(maxsize=2)
def _loaded(path: str) -> Model:
    _check_report(path)
    binding = load_model.__wrapped__(Path(path), _FIX)
    labels, linear = list(binding.getLabels("strict")[0]), multiply_out(binding)
    return Model(labels, _grades(labels), linear, None if linear else binding)


def _grades(labels: Sequence[str]) -> list[int]:
    """The labels as numbers; empty if one of them is not a whole number."""
    names = [label.removeprefix(LABEL_PREFIX) for label in labels]
    return [int(name) for name in names] if all(re.fullmatch(r"\d{1,3}", name) for name in names) else []
