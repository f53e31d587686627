"""The text filters in the plainest way: loops and counts, no early exits, no shared helpers."""

from __future__ import annotations

import re

from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition
from corpus.filters.characters import PUNCTUATION, SENTENCE_TERMINAL
from corpus.filters.words import count_sentences, split_words

Verdict = tuple[str, float] | None  # (rule, value) of the first rule that fails


def gopher_repetition_verdict(text: str, config: gopher_repetition.Config) -> Verdict:
    if text == "":
        return None
    values: dict[str, float] = {}
    for kind, items in (("paragraph", re.split(r"\n{2,}", text.strip())), ("line", re.split(r"\n+", text))):
        again = [item for place, item in enumerate(items) if item in items[:place]]
        values[f"duplicate_{kind}_fraction"] = len(again) / len(items)
        values[f"duplicate_{kind}_chars"] = sum(len(item) for item in again) / len(text)
    words = split_words(text)
    for n in (2, 3, 4):
        grams = [" ".join(words[at : at + n]) for at in range(len(words) - n + 1)]
        best = ""
        for gram in grams:
            if best == "" or grams.count(gram) > grams.count(best):
                best = gram
        values[f"top_{n}_gram"] = len(best) * grams.count(best) / len(text)
    for n in (5, 6, 7, 8, 9, 10):
        seen, chars, at = [], 0, 0
        while at + n <= len(words):
            gram = words[at : at + n]
            if gram in seen:
                chars += len("".join(gram))
                at += n
            else:
                seen.append(gram)
                at += 1
        values[f"duplicate_{n}_gram"] = chars / len(text)
    for name, value in values.items():
        if value > getattr(config, name):
            return f"gopher_repetition.{name}", value
    return None


def gopher_quality_verdict(text: str, language: str | None, config: gopher_quality.Config) -> Verdict:
    words = split_words(text)
    real = [word for word in words if any(char not in PUNCTUATION for char in word)]
    lines = text.splitlines()
    failed: list[tuple[str, float]] = []
    if len(real) < config.min_words:
        failed.append(("few_words", len(real)))
    if len(real) > config.max_words:
        failed.append(("many_words", len(real)))
    if real:
        mean = sum(len(word) for word in real) / len(real)
        if mean < config.min_word_length:
            failed.append(("short_words", mean))
        if mean > config.max_word_length:
            failed.append(("long_words", mean))
    if words or "#" in text:
        ratio = text.count("#") / len(words)
        if ratio > config.max_hash_ratio:
            failed.append(("hash_ratio", ratio))
    if words:
        ratio = (text.count("...") + text.count("…")) / len(words)
        if ratio > config.max_ellipsis_ratio:
            failed.append(("ellipsis_ratio", ratio))
    if lines:
        ratio = len([line for line in lines if line.lstrip()[:1] in ("•", "-") and line.strip()]) / len(lines)
        if ratio > config.max_bullet_lines:
            failed.append(("bullet_lines", ratio))
        ratio = len([line for line in lines if re.search(r"(?:\.\.\.|…)\s*\Z", line)]) / len(lines)
        if ratio > config.max_ellipsis_lines:
            failed.append(("ellipsis_lines", ratio))
    if words:
        ratio = len([word for word in words if any(char.isalpha() for char in word)]) / len(words)
        if ratio < config.min_alphabetic_words:
            failed.append(("alphabetic_words", ratio))
    if language in (None, config.stop_words_language):
        found = len({word for word in words if word in config.stop_words})
        if found < config.min_stop_words:
            failed.append(("stop_words", found))
    return (f"gopher_quality.{failed[0][0]}", failed[0][1]) if failed else None


def c4_text(text: str, config: c4.Config) -> str | tuple[str, float]:
    """The cleaned text, or (rule, value)."""
    kept = []
    for line in text.splitlines():
        line = line.strip()
        words = len(line.split())
        if any(len(word) > config.max_word_length for word in line.split()):
            continue
        line = re.sub(r"\[edit\]|\[citation needed\]|\[[\d]*\]", "", line)
        if config.terminal_punctuation and (line[-1:] not in (".", "?", "!", '"', "'") or line[-3:] == "..."):
            continue
        if words < config.min_line_words:
            continue
        if "lorem ipsum" in line.lower():
            return "c4.lorem_ipsum", line.lower().count("lorem ipsum")
        if "javascript" in line.lower():
            continue
        if "{" in line:
            return "c4.curly_bracket", line.count("{")
        policies = "terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"
        if re.search(policies, line.lower()):
            continue
        kept.append(line)
    sentences = sum(count_sentences(split_words(line)) for line in kept)
    if sentences < config.min_sentences:
        return "c4.few_sentences", sentences
    cleaned = "\n".join(kept).strip()
    return cleaned if cleaned else ("c4.empty", 0)


def fineweb_verdict(text: str, config: fineweb.Config) -> Verdict:
    lines = [line for line in text.split("\n") if line.strip() != ""]
    if not lines:
        return ("fineweb.line_punctuation", 0.0) if config.min_line_punctuation > 0 else None
    again = [line for place, line in enumerate(lines) if line in lines[:place]]
    words = split_words(text)
    punctuated = len([line for line in lines if line.endswith(tuple(SENTENCE_TERMINAL))]) / len(lines)
    short = len([line for line in lines if len(line) <= config.short_line_chars]) / len(lines)
    duplicate = sum(len(line) for line in again) / len(text.replace("\n", ""))
    newlines = text.count("\n") / len(words)
    if punctuated < config.min_line_punctuation:
        return "fineweb.line_punctuation", punctuated
    if short > config.max_short_lines:
        return "fineweb.short_lines", short
    if duplicate > config.max_duplicate_line_chars:
        return "fineweb.duplicate_line_chars", duplicate
    if newlines > config.max_newline_ratio:
        return "fineweb.newline_ratio", newlines
    return None
