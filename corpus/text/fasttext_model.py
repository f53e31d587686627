"""Labels of a text by a fastText model.

In: a model file, and texts. Out: the labels of a text with their probabilities. The method `predict` of fastText's
Python class fails with NumPy 2 (it asks for an array without a copy). So fastText's C++ binding is called directly: it
takes one line of text with its newline and returns a list of (probability, label).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

DISTRIBUTION = "fasttext-modern"  # it installs the modules `fasttext` and `fasttext_pybind`
LABEL_PREFIX = "__label__"
ALL = -1  # as a count of labels: every label


@lru_cache(maxsize=2)
def load_model(path: Path, fix: str) -> Any:
    """fastText's binding with the model of the file `path`, kept for the next batches of this process.

    Raises ValueError, which ends with `fix`, if the file is no fastText model.
    """
    try:
        import fasttext_pybind
    except ModuleNotFoundError as error:
        message = "fasttext is not installed; pip install '.[data]' brings it"
        raise ModuleNotFoundError(message, name=error.name) from None
    model = fasttext_pybind.fasttext()
    try:
        model.loadModel(str(path))
    except ValueError as error:
        raise ValueError(f"{path}: not a fastText model ({error}); {fix}") from error
    return model


def predict(model: Any, text: str, count: int, least: float = 0.0) -> list[tuple[float, str]]:
    """The `count` likeliest labels (`ALL`: every label) as (probability, label), the likeliest first.

    Labels with a probability below `least` are left out; the model may have no answer at all. Probabilities are sums of
    float32 and reach 1.00006.
    """
    answer: list[tuple[float, str]] = model.predict(one_line(text) + "\n", count, least, "strict")
    return answer


def one_line(text: str) -> str:
    """The text on one line: spaces for newlines (as FineWeb), and "?" for lone surrogates, which UTF-8 lacks."""
    return text.replace("\n", " ").replace("\r", " ").encode("utf-8", "replace").decode("utf-8")
