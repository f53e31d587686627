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
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.config import setting
from corpus.fasttext_model import ALL, LABEL_PREFIX, load_model, predict
from corpus.schema import Drop, Outcome, dropped_rows, outcome, replace_column

STAGE = "classifier"
SCORE, GRADE = "quality_score", "quality_int_score"
POSITIVE = f"{LABEL_PREFIX}hq"  # DCLM's name of what is to be kept
_DEFAULT_SCORE, _DEFAULT_GRADE = 0.5, 3.0
_MAGIC = (793712314).to_bytes(4, "little")  # what a file of fastText begins with (fasttext.cc, FASTTEXT_FILEFORMAT)
_NO_MODEL = "not a fastText model; give one of corpus classify train"


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
            raise ValueError(f"{config.model}: {_NO_MODEL}")
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
        row: Drop(f"{STAGE}.score", value, threshold)
        for row, value in enumerate(values.to_pylist())
        if value < threshold
    }
    return outcome(batch, STAGE, drops)


def score(batch: pa.RecordBatch, config: Config) -> Outcome:
    """The ids of a batch with their scores, in place of the documents; nothing is dropped."""
    names = [field.name for field in columns(config)]
    kept = keep(batch, scores(batch.column("text"), config), 0.0, len(names) > 1).kept
    return Outcome(kept.select(["id", *names]), dropped_rows(batch, STAGE, {}))


def scores(texts: pa.Array, config: Config) -> pa.Array:
    """float64, a score a text; 0 where there is no word."""
    model, labels = _model(config), _labels(config)
    grades = _grades(labels)
    weights = {label: float(grade) for label, grade in zip(labels, grades, strict=True)} if grades else None
    found = [_score(model, text, config.label, weights) for text in texts.to_pylist()]
    return pa.array(found, pa.float64())


def _score(model: Any, text: str | None, label: str, weights: dict[str, float] | None) -> float:
    if not text or text.isspace():
        return 0.0
    answer = predict(model, text, ALL)
    if weights is None:
        return min(next((float(value) for value, name in answer if name == label), 0.0), 1.0)
    total = sum(value for value, _ in answer)  # 1, but for rounding
    return sum(value * weights[name] for value, name in answer) / total if total else 0.0


def _model(config: Config) -> Any:
    if not Path(config.model).is_file():
        raise ValueError(f"{config.model}: no such model; train one with corpus classify train")
    return load_model(Path(config.model), "give one of corpus classify train")


def _labels(config: Config) -> list[str]:
    """The model's labels. Raises ValueError if `label` is none of them, nor are they numbers."""
    labels: list[str] = list(_model(config).getLabels("strict")[0])
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
