"""The card of an exported corpus: README.md with a YAML header, as the Hugging Face Hub reads it.

In: what is known of the corpus (`Facts`). Out: the text. The header names the files (configs), the languages, the size,
the task and the licence (https://huggingface.co/docs/hub/datasets-cards). No time and no place is in it, so that the
text is the same for the same corpus.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from bpe.terminal.text import readable_line
from corpus.export.base import Format
from corpus.report.funnel import Funnel, counted, share, summary

# The identifiers of https://huggingface.co/docs/hub/repositories-licenses, November 2026.
LICENCES = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
    bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc
    cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0
    cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1
    eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl
    openmdw-1.0 openmdw-1.1 osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl unknown other
    """.split()  # noqa: SIM905
)
_SIZES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9, 10**10, 10**11, 10**12)
_SIZE_NAMES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_MOST_INPUTS = 20  # names of files that the card shows


class Facts(NamedTuple):
    """What the card says.

    rows, files  numbers of documents and of files
    languages    documents by language
    licence      an identifier of the Hub; "" if none is stated
    repeat       the command that makes the folder again
    vocabulary   of tokens: tokenizer_hash, vocab_size, end_of_text; else empty
    """

    name: str
    kind: str
    rows: int
    files: int
    format: Format
    languages: Counter[str]
    licence: str
    columns: pa.Schema
    funnel: Funnel
    recipe: str
    inputs: Sequence[str]
    versions: Mapping[str, str]
    repeat: str
    vocabulary: Mapping[str, str]


def card(facts: Facts) -> str:
    """The text of README.md."""
    sections = [_header(facts), _about(facts), _how_to_load(facts), _columns(facts), _funnel(facts)]
    sections += [_recipe(facts.recipe)] if facts.recipe else []
    sections += [_inputs(facts.inputs), _versions(facts)]
    return "\n\n".join(sections) + "\n"


def size_category(rows: int) -> str:
    """The Hub's name of a number of rows, such as 10K<n<100K."""
    place = next((number for number, size in enumerate(_SIZES) if rows < size), len(_SIZES))
    if place == 0:
        return "n<1K"
    return "n>1T" if place == len(_SIZES) else f"{_SIZE_NAMES[place - 1]}<n<{_SIZE_NAMES[place]}"


def _header(facts: Facts) -> str:
    """The YAML; every string is written as JSON, which is YAML too: the language `no` alone would be `false`."""
    codes = [code for code, _ in _by_size(facts.languages) if re.fullmatch("[a-z]{2,3}", code)]
    lines = ["---", f"pretty_name: {json.dumps(facts.name)}"]
    lines += [f"license: {json.dumps(facts.licence)}"] if facts.licence else []
    lines += ["language:", *(f"- {json.dumps(code)}" for code in codes)] if codes else []
    lines += ["task_categories:", '- "text-generation"', "size_categories:", f'- "{size_category(facts.rows)}"']
    lines += ["tags:", '- "pretraining"', f'- "{facts.kind}"']
    if facts.format.pattern:
        lines += ["configs:", '- config_name: "default"', "  data_files:", '  - split: "train"']
        lines += [f'    path: "{facts.format.pattern}"']
    return "\n".join([*lines, "---"])


def _about(facts: Facts) -> str:
    tokens = f", {facts.funnel.tokens:,} tokens" if facts.funnel.tokens is not None else ""
    languages = ", ".join(f"{_plain(code)} {count:,}" for code, count in _by_size(facts.languages)[:20])
    size = f"{facts.rows:,} documents{tokens}; {facts.files:,} {'file' if facts.files == 1 else 'files'} of data."
    lines = [f"# {_plain(facts.name)}", "", size]
    if facts.kind == "tokens":
        ids = ", ".join(f"{name} {_plain(value)}" for name, value in sorted(facts.vocabulary.items()))
        lines += [f"Each document is the ids of its tokens by a byte-level BPE vocabulary: {ids}."]
    lines += [f"Documents by language: {languages}."] if languages else []
    stated = f"Licence: {facts.licence}." if facts.licence else "No licence is stated for this corpus."
    return "\n".join([*lines, stated, "", "`SHA256SUMS` has a checksum of every file: `sha256sum -c SHA256SUMS`."])


def _how_to_load(facts: Facts) -> str:
    return f"## How to load it\n\n{facts.format.load}"


def _columns(facts: Facts) -> str:
    rows = [f"| `{_plain(field.name)}` | {field.type} |" for field in facts.columns]
    return "\n".join(["## Columns of the dataset", "", "| column | type |", "|---|---|", *rows])


def _funnel(facts: Facts) -> str:
    lines = ["## How it was made", "", f"{summary(facts.funnel)}.", "", "| stage, rule | read | kept | dropped |"]
    lines += ["|---|---:|---:|---:|"]
    for line in facts.funnel.lines:
        dropped = sum(line.dropped.values())
        kept = f"{line.kept:,} ({share(line.kept, line.read)})"
        lines.append(f"| **{_plain(line.stage)}** | {line.read:,} | {kept} | {dropped:,} |")
        lines += [f"| {_plain(rule)} | | | {count:,} |" for rule, count in line.dropped.items()]
    counts = [f"- {_plain(item)}" for item in counted(facts.funnel)]
    lines += ["", "Counted on the way (opt-outs of publishers, personal data, other):", "", *counts] if counts else []
    errors = [f"**The account does not add up**: {_plain(error)}" for error in facts.funnel.errors]
    return "\n".join([*lines, *(["", *errors] if errors else [])])


def _recipe(recipe: str) -> str:
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", recipe)), 0)
    return f"## Recipe\n\n{fence}toml\n{recipe.strip()}\n{fence}"


def _inputs(names: Sequence[str]) -> str:
    shown = [f"- {_plain(name)}" for name in names[:_MOST_INPUTS]]
    more = [f"- and {len(names) - _MOST_INPUTS:,} more"] if len(names) > _MOST_INPUTS else []
    return "\n".join(["## Sources", "", f"{len(names):,} {'file' if len(names) == 1 else 'files'}:", "", *shown, *more])


def _versions(facts: Facts) -> str:
    rows = [f"| {name} | {version} |" for name, version in sorted(facts.versions.items())]
    lines = ["## How to repeat it", "", "With these versions, the same input gives the same bytes:", ""]
    return "\n".join([*lines, "| library | version |", "|---|---|", *rows, "", f"    {_plain(facts.repeat)}"])


def _by_size(languages: Counter[str]) -> list[tuple[str, int]]:
    return sorted(languages.items(), key=lambda item: (-item[1], item[0]))


def _plain(text: str) -> str:
    """Text of a dataset or a user in one line, without what Markdown would take for a cell, a tag or an emphasis."""
    return re.sub(r"([|<>`*\[\]])", r"\\\1", readable_line(text))
