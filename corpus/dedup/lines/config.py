"""Settings of line deduplication; `corpus.dedup.lines.hashes` has the reasons. Light, so that help is shown quickly."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.config import WRITTEN, setting


@dataclass(frozen=True)
class Config:
    documents: int = setting(
        7,
        "a line is repeated if this many documents have it (Llama 3: 7; C4, CCNet: 2)",
        low=2,
        flag="--line-documents",
    )
    keep_first: bool = setting(
        True, "keep a repeated line once, in the first document that has it (CCNet: false)", flag="--line-keep-first"
    )
    unit: str = setting(
        "line",
        "compare lines, or paragraphs between blank lines",
        choices=("line", "paragraph"),
        flag="--line-unit",
    )
    match: str = setting(
        "folded",
        "when two lines are equal: folded (case, digits and punctuation make no difference, as in CCNet), numbers "
        "(digits make one) or exact (byte for byte, but for white space at the end)",
        choices=("folded", "numbers", "exact"),
        flag="--line-match",
    )
    min_words: int = setting(
        3, "ignore lines with fewer words than this: short lines recur by nature", low=1, flag="--line-min-words"
    )
    min_kept_words: int = setting(
        50,
        "drop a document that lost lines and has fewer words left (datatrove: 50); 0 keeps an empty one, too",
        low=0,
        flag="--line-min-kept-words",
    )


@dataclass(frozen=True)
class Removal:
    """Settings of the step that removes lines: the path of the table of repeated lines, and the stage's settings."""

    table: str = field(metadata=WRITTEN)
    lines: Config
