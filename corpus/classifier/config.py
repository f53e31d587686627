"""The settings of the stage `classifier`: the model, and which of its scores keep a document."""

from __future__ import annotations

import re
from dataclasses import dataclass

from corpus.config import setting
from corpus.text.fasttext_model import LABEL_PREFIX

NAME = "classifier"
SCORE, GRADE = "quality_score", "quality_int_score"  # the columns that the stage adds to DOCUMENTS
POSITIVE = f"{LABEL_PREFIX}hq"  # the label of good documents in DCLM's models


@dataclass(frozen=True)
class Config:
    model: str = setting(
        "", "the model: a file of corpus classify train or of fastText", flag="--classifier", path=True
    )
    label: str = setting(POSITIVE, "the label whose probability is the score")
    keep_above: float | None = setting(
        None, "keep documents with at least this score (default: 0.5; a model with grades: 3)", low=0
    )
    keep_top: str = setting("", 'keep this share of all documents, those with the highest scores: "10%" (DCLM)')

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model = '': should be the file of a model; train one with corpus classify train")
        if self.keep_top and self.share is None:
            raise ValueError(f"keep_top = {self.keep_top!r}: should be a share above 0% and up to 100%, as in 10%")
        if self.keep_top and self.keep_above is not None:
            raise ValueError(f"keep_top = {self.keep_top!r}: leave it out, or keep_above: one of them decides")

    @property
    def share(self) -> float | None:
        """`keep_top` as a number above 0 and up to 1; None if it is not such a share."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(self.keep_top))
        share = float(match[1]) / 100 if match else 0.0
        return share if 0 < share <= 1 else None


@dataclass(frozen=True)
class Apply:
    """The settings of the last pass: `cutoff` is the score that the wanted share of all documents reaches."""

    cutoff: float
    settings: Config
