"""datatrove's text filters as an oracle: what datatrove, with spaCy, decides on a text, in the names of our rules.

datatrove and spaCy come with the extra `bench`; nothing in the product needs them. Every document is taken for English.
The constants are the defaults of datatrove's filters, which are FineWeb's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

_NAMES = {
    "dup_para_frac": "gopher_repetition.duplicate_paragraph_fraction",
    "dup_para_char_frac": "gopher_repetition.duplicate_paragraph_chars",
    "dup_line_frac": "gopher_repetition.duplicate_line_fraction",
    "dup_line_char_frac": "gopher_repetition.duplicate_line_chars",
    "gopher_short_doc": "gopher_quality.few_words",
    "gopher_long_doc": "gopher_quality.many_words",
    "gopher_below_avg_threshold": "gopher_quality.short_words",
    "gopher_above_avg_threshold": "gopher_quality.long_words",
    "gopher_too_many_hashes": "gopher_quality.hash_ratio",
    "gopher_too_many_ellipsis": "gopher_quality.ellipsis_ratio",
    "gopher_too_many_bullets": "gopher_quality.bullet_lines",
    "gopher_too_many_end_ellipsis": "gopher_quality.ellipsis_lines",
    "gopher_below_alpha_threshold": "gopher_quality.alphabetic_words",
    "gopher_enough_stop_words": "gopher_quality.stop_words",
    "lorem_ipsum": "c4.lorem_ipsum",
    "curly_bracket": "c4.curly_bracket",
    "too_few_sentences": "c4.few_sentences",
    "line_punct_ratio": "fineweb.line_punctuation",
    "short_line_ratio": "fineweb.short_lines",
    "char_dup_ratio": "fineweb.duplicate_line_chars",
    "list_ratio": "fineweb.newline_ratio",
}


def stages() -> dict[str, Callable[[str], str]]:
    """Each stage as a function of a text: the rule by which it is dropped, or the text that is kept after "kept:"."""
    filters = {
        "gopher_repetition": GopherRepetitionFilter(),
        "gopher_quality": GopherQualityFilter(),
        "c4": C4QualityFilter(filter_no_terminal_punct=False),
        "c4_terminal": C4QualityFilter(),
        "fineweb": FineWebQualityFilter(),
    }
    return {name: _judge(each) for name, each in filters.items()}


def _judge(stage: Any) -> Callable[[str], str]:
    def judge(text: str) -> str:
        document = Document(text=text, id="0")
        answer = stage.filter(document)
        return f"kept:{document.text}" if answer is True else _name(answer[1])

    return judge


def _name(reason: str) -> str:
    if gram := re.fullmatch(r"top_(\d)_gram", reason):
        return f"gopher_repetition.top_{gram[1]}_gram"
    if grams := re.fullmatch(r"duplicated_(\d+)_n_grams", reason):
        return f"gopher_repetition.duplicate_{grams[1]}_gram"
    return _NAMES[reason]
