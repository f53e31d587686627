"""A fastText model file -> the binding that answers with it; a text -> the one line that it reads.

`FastText.predict` breaks with NumPy 2 (it asks for a copy-free array), so the binding under it is called, which takes
a whole line with its newline and returns a list of (probability, label).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

LABEL_PREFIX = "__label__"
ALL = -1  # labels asked for


@lru_cache(maxsize=2)
def load_model(path: Path, fix: str) -> Any:
    """fastText's binding with the model of `path` loaded; kept, because a process reads many batches.

    Raises ValueError with `fix` if the file is no fastText model.
    """
    import fasttext_pybind

    model = fasttext_pybind.fasttext()
    try:
        model.loadModel(str(path))
    except ValueError as error:
        raise ValueError(f"{path}: not a fastText model ({error}); {fix}") from error
    return model


def predict(model: Any, text: str, count: int, least: float = 0.0) -> list[tuple[float, str]]:
    """The `count` likeliest labels (ALL of them) with their probabilities, most first; none where there is no answer.

    Probabilities are float32 sums and reach 1.00006; labels below `least` are left out.
    """
    answer: list[tuple[float, str]] = model.predict(one_line(text) + "\n", count, least, "strict")
    return answer


def one_line(text: str) -> str:
    """`text` without newlines, as FineWeb does it, and without lone surrogates, which UTF-8 cannot hold."""
    return text.replace("\n", " ").replace("\r", " ").encode("utf-8", "replace").decode("utf-8")
