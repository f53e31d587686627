"""DOCUMENTS -> DOCUMENTS that a trained classifier takes for good ones, each with its score.

The model is a fastText classifier (Joulin et al. 2016, arXiv 1607.01759), such as `corpus classify train` makes. DCLM
(Li et al. 2024, arXiv 2406.11794) kept the tenth of its documents that resemble instructions and well-liked answers
most: the share can be named, `keep_top = "10%"`, or the score, `keep_above`.

A model whose labels are all whole numbers (`__label__0` to `__label__5`) grades: the score is the mean of the
numbers, weighted by their probabilities, and `quality_int_score` is it rounded, by which FineWeb-Edu (Penedo et al.
2024, arXiv 2406.17557, section 4) keeps what has 3 or more. For others the score is the probability of `label`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.classifier.linear import Linear, multiply_out, probabilities
from corpus.config import setting
from corpus.schema import Drop, Outcome, dropped_rows, outcome, replace_column
from corpus.text.fasttext_model import ALL, LABEL_PREFIX, load_model, predict

NAME = "classifier"
SCORE, GRADE = "quality_score", "quality_int_score"
POSITIVE = f"{LABEL_PREFIX}hq"  # DCLM's name of what is to be kept
_DEFAULT_SCORE, _DEFAULT_GRADE = 0.5, 3.0
_MAGIC = (793712314).to_bytes(4, "little")  # what a file of fastText begins with (fasttext.cc, FASTTEXT_FILEFORMAT)
_FIX = "give one of corpus classify train"


@dataclass(frozen=True)
class Config:
    model: str = setting(
        "", "the model, a file of corpus classify train or of fastText", flag="--classifier", path=True
    )
    label: str = setting(POSITIVE, "the label whose probability is the score")
    keep_above: float | None = setting(
        None, "keep a document that scores so much or more (default: 0.5; a model that grades: 3)", low=0
    )
    keep_top: str = setting("", 'keep this share of all documents, those that score highest: "10%" (DCLM)')

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model = '': should be the file of a model; train one with corpus classify train")
        if self.keep_top and self.share is None:
            raise ValueError(f"keep_top = {self.keep_top!r}: should be a share above 0% and up to 100%, as in 10%")
        if self.keep_top and self.keep_above is not None:
            raise ValueError(f"keep_top = {self.keep_top!r}: leave it out, or keep_above: one of them decides")

    @property
    def share(self) -> float | None:
        """`keep_top` as a number above 0 and up to 1; None if it is none."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(self.keep_top))
        share = float(match[1]) / 100 if match else 0.0
        return share if 0 < share <= 1 else None


def columns(config: Config) -> list[pa.Field]:
    """What this stage adds to DOCUMENTS."""
    grades = _grades(_labels(config))
    return [pa.field(SCORE, pa.float64()), *([pa.field(GRADE, pa.int64())] if grades else [])]


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch at `keep_above`; kept rows get their score.

    Raises ValueError if the file is no model, if it has no such label, or with `keep_top`, which takes all scores.
    """
    if config.keep_top:
        raise ValueError(f"keep_top = {config.keep_top!r}: needs the scores of all documents, see passes_scores")
    return keep(batch, scores(batch.column("text"), config), config.keep_above, bool(_grades(_labels(config))))


def resources(config: Config) -> dict[str, str]:
    """Nothing decides besides the settings. Raises ValueError if the file of the model is none, before work begins."""
    with Path(config.model).open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{config.model}: not a fastText model; {_FIX}")
    return {}


def keep(batch: pa.RecordBatch, values: pa.Array, threshold: float | None, grades: bool) -> Outcome:
    """Split `batch` by the scores of its rows; those of a model that grades are rounded first."""
    batch = replace_column(batch, SCORE, values)
    judged = values
    if grades:
        judged = pc.round(values, round_mode="half_towards_infinity").cast(pa.int64())
        batch = replace_column(batch, GRADE, judged)
    threshold = (_DEFAULT_GRADE if grades else _DEFAULT_SCORE) if threshold is None else threshold
    return split(batch, judged, threshold)


def split(batch: pa.RecordBatch, values: pa.Array, threshold: float) -> Outcome:
    """Drop the rows whose value is below the threshold."""
    drops = {
        row: Drop(f"{NAME}.score", value, threshold)
        for row, value in enumerate(values.to_pylist())
        if value < threshold
    }
    return outcome(batch, NAME, drops)


def score(batch: pa.RecordBatch, config: Config) -> Outcome:
    """The ids of a batch with their scores, in place of the documents; nothing is dropped."""
    names = [field.name for field in columns(config)]
    kept = keep(batch, scores(batch.column("text"), config), 0.0, len(names) > 1).kept
    return Outcome(kept.select(["id", *names]), dropped_rows(batch, NAME, {}))


def scores(texts: pa.Array, config: Config) -> pa.Array:
    """float64, a score a text; 0 where there is no word."""
    labels, model, linear = _answering(config)
    grades = _grades(labels)
    weights = np.array([float(grade) for grade in grades] or [float(label == config.label) for label in labels])
    found = probabilities(texts, linear) if linear else _predicted(texts, labels, model)
    total = found.sum(axis=1) if grades else 1.0  # of the labels, 1 but for rounding
    values = np.minimum((found * weights).sum(axis=1) / np.maximum(total, 1e-9), max(1.0, weights.max()))
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(texts, ""))), 0)
    return pc.if_else(blank, 0.0, pa.array(values, pa.float64()))


def _predicted(texts: pa.Array, labels: Sequence[str], model: Any) -> Any:
    """[texts, labels]: the probabilities by fastText itself, for a model that cannot be multiplied out."""
    rows = [{label: value for value, label in predict(model, text or "", ALL)} for text in texts.to_pylist()]
    return np.array([[row.get(label, 0.0) for label in labels] for row in rows]).reshape(len(rows), len(labels))


def _answering(config: Config) -> tuple[list[str], Any, Linear | None]:
    if not Path(config.model).is_file():
        raise ValueError(f"{config.model}: no such model; train one with corpus classify train")
    return _loaded(config.model)


@lru_cache(maxsize=2)
def _loaded(path: str) -> tuple[list[str], Any, Linear | None]:
    """A model's labels, and what answers: fastText, or the same multiplied out, in a fiftieth of the memory."""
    model = load_model.__wrapped__(Path(path), _FIX)
    labels, linear = list(model.getLabels("strict")[0]), multiply_out(model)
    return labels, None if linear else model, linear


def _labels(config: Config) -> list[str]:
    """The model's labels. Raises ValueError if `label` is none of them, nor are they numbers."""
    labels = _answering(config)[0]
    if config.label not in labels and not _grades(labels):
        raise ValueError(f"label = {config.label!r}: {config.model} has {', '.join(sorted(labels))}")
    return labels


def _grades(labels: Sequence[str]) -> list[int]:
    """The labels as numbers, if they all are whole numbers; else nothing."""
    names = [label.removeprefix(LABEL_PREFIX) for label in labels]
    return [int(name) for name in names] if all(re.fullmatch(r"\d{1,3}", name) for name in names) else []


def cutoff(histogram: Any, documents: int, share: float) -> float:
    """The score that the `share` of all documents with the highest scores reaches, exactly.

    `histogram(shift, prefix)` counts, by their next 16 bits, the scores whose bits above `shift + 16` are `prefix`:
    the bits of floats that are not negative are ordered as they are. So four rounds find the score of a given rank, in
    any order of shards and in no memory to speak of.
    """
    wanted = max(1, int(share * documents + 0.5))
    prefix = 0
    for shift in (48, 32, 16, 0):
        counts = histogram(shift, prefix)
        above = np.cumsum(counts[::-1])
        place = int(np.searchsorted(above, wanted))  # from the top
        wanted -= int(above[place - 1]) if place else 0
        prefix = prefix << 16 | (len(counts) - 1 - place)
    return float(np.uint64(prefix).view(np.float64))


def count_bits(values: pa.Array, shift: int, prefix: int) -> Any:
    """A part of the histogram that `cutoff` asks for: int64[65536]."""
    bits = values.to_numpy(zero_copy_only=False).astype(np.float64).view(np.uint64)
    if shift < 48:
        bits = bits[bits >> np.uint64(shift + 16) == np.uint64(prefix)]
    return np.bincount((bits >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.int64), minlength=1 << 16)
