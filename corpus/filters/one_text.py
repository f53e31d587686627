"""The quality rules for one text, without a batch and without a run: why it is dropped, or what is left of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bpe import arguments
from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition
from corpus.filters.rules import for_text
from corpus.run.chain import Step
from corpus.run.recipe import stage_and_setting, step_with
from corpus.schema import Drop
from corpus.text.languages import check_language

# (text, language, settings) -> the answer of a stage: the drop, the text that it leaves, or None for the whole text.
_RULES: dict[str, Callable[[str, str | None, Any], Drop | str | None]] = {
    gopher_repetition.NAME: gopher_repetition.judge,
    gopher_quality.NAME: gopher_quality.judge,
    c4.NAME: c4.clean,
    fineweb.NAME: fineweb.judge,
}
TEXT_STAGES = tuple(_RULES)  # in the order of FineWeb's recipe


def judge_text(
    text: str,
    *,
    language: str | None = None,
    stages: Sequence[str] = TEXT_STAGES,
    settings: Mapping[str, Any] | None = None,
) -> Drop | None:
    """Why the quality rules drop a text: the first rule that drops it, with what it measured; None if they keep it.

    language  ISO 639 code of the text, such as en, which decides how its words are split; None: unknown, and split as
              English
    stages    the stages that judge, in this order: gopher_repetition and gopher_quality (arXiv 2112.11446), c4 (arXiv
              1910.10683), fineweb (arXiv 2406.17557). The default is FineWeb's order
    settings  settings that differ from the published ones: {"gopher_quality.min_words": 30}; "off" switches a rule off

    The stage c4 cuts lines out of a text, such as a notice about cookies, and the stages behind it judge what is left;
    `filter_text` returns that. Raises ValueError naming a stage, a setting or a language that is wrong.

    >>> from corpus import judge_text
    >>> judge_text("Click here to accept. Click here to accept. Click here to accept.", language="en")
    Drop(rule='gopher_repetition.top_2_gram', value=0.46153846153846156, threshold=0.2)
    >>> text = "The ship came home to the old harbour at dawn."
    >>> judge_text(text, stages=["gopher_quality"], settings={"gopher_quality.min_words": 5}) is None
    True
    """
    answer = _filtered(text, language, stages, settings)
    return answer if isinstance(answer, Drop) else None


def filter_text(
    text: str,
    *,
    language: str | None = None,
    stages: Sequence[str] = TEXT_STAGES,
    settings: Mapping[str, Any] | None = None,
) -> str | None:
    """The text as the quality rules leave it, without the lines that the stage c4 cuts; None if they drop it.

    The parameters and errors are those of `judge_text`, which says why a text is dropped.

    >>> from corpus import filter_text
    >>> lines = "The ship came home at dawn.\\nWe use cookies on this site.\\nNobody was there to see it."
    >>> filter_text(lines, stages=["c4"], settings={"c4.min_sentences": 2})
    'The ship came home at dawn.\\nNobody was there to see it.'
    """
    answer = _filtered(text, language, stages, settings)
    return None if isinstance(answer, Drop) else answer


def _filtered(text: str, language: str | None, stages: Sequence[str], settings: Mapping[str, Any] | None) -> str | Drop:
    """What the stages leave of a text, or the drop by the first rule that drops it."""
    steps = _steps(stages, {} if settings is None else settings)
    text = arguments.string("text", text)
    if not any(getattr(step.config, "language_file", "") for step in steps):  # such a file may have any languages
        check_language(language)
    for stage, _, config in steps:
        answer = for_text(stage, config, _RULES[stage])(text, language)
        if isinstance(answer, Drop):
            return answer
        text = text if answer is None else answer
    return text


def _steps(stages: Sequence[str], settings: Mapping[str, Any]) -> list[Step]:
    """The stages with their settings. Raises ValueError naming a stage or a setting that is wrong."""
    if isinstance(stages, str):
        raise TypeError(f"stages = {stages!r}: should be a list of names, as in [{stages!r}]")
    stages = arguments.strings("stages", stages)
    arguments.mapping("settings", settings, '{"gopher_quality.min_words": 30}')
    if unknown := next((stage for stage in stages if stage not in _RULES), None):
        raise ValueError(f"stages: {unknown} does not judge texts; choose of {', '.join(_RULES)}")
    by_stage: dict[str, dict[str, Any]] = {stage: {} for stage in stages}
    for name, value in settings.items():
        stage, setting = stage_and_setting(name)
        if stage not in by_stage:
            raise ValueError(f"settings: {name}: {stage} is not among the stages {', '.join(stages)}")
        by_stage[stage][setting] = value
    return [_step(stage, by_stage[stage]) for stage in stages]


def _step(stage: str, settings: Mapping[str, Any]) -> Step:
    try:
        return step_with(stage, settings)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"settings: {stage}.{error}") from None
