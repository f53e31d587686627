"""What a stage is, and what a barrier is: the contract that every step of a recipe keeps.

A stage is a module with a frozen dataclass `Config` and a constant `STAGE`, a `Stage` that names everything the rest of
the toolkit asks of it. Most stages judge one row at a time: they have a `process`. A stage that needs all documents
before it can judge one, as deduplication does, is a barrier: it has a `barrier` instead, whose passes look at all
documents and then run per-row steps of their own.

`STAGES` is the one table of stages that is written by hand. Every other list (which stages a command offers, which
folders a run writes, which barrier follows which) is derived from the declarations. The passes of a barrier name the
modules of their own steps.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa

from corpus.schema import Outcome

if TYPE_CHECKING:
    from corpus.run.barrier import BarrierJob
    from corpus.run.chain import Step
    from corpus.run.plan import Pass

# The stages that a recipe may name, in the order in which they usually run. Barriers write their folders in this order.
STAGES = {
    "urls": "corpus.filters.urls",
    "optout": "corpus.filters.optout",
    "prescreen": "corpus.language.prescreen",
    "extract": "corpus.extract.stage",
    "language": "corpus.language.stage",
    "gopher_repetition": "corpus.filters.gopher_repetition",
    "gopher_quality": "corpus.filters.gopher_quality",
    "c4": "corpus.filters.c4",
    "fineweb": "corpus.filters.fineweb",
    "dedup": "corpus.dedup.stage",
    "lines": "corpus.dedup.lines.stage",
    "classifier": "corpus.classifier.stage",
    "decontaminate": "corpus.decontaminate.stage",
    "scrub": "corpus.pii.scrub",
    "token_count": "corpus.tokens.count",
    "tokenizer": "corpus.tokens.vocabulary",
}


class Rule(NamedTuple):
    """One reason for which a stage drops a document.

    name      as DROPPED has it, without the stage's name: `few_words` of `gopher_quality.few_words`
    measures  what is measured or looked for, with its unit
    drops     on which side of the threshold a document is dropped; "listed" where something unwanted is found
    setting   the field of the stage's Config that holds the threshold; None where no setting does
    source    the paper, specification or code that the rule and its default come from

    >>> from corpus import Rule
    >>> Rule("upper_case", "share of upper-case letters", "above", setting="max_upper").drops
    'above'
    """

    name: str
    measures: str
    drops: Literal["above", "below", "listed"]
    setting: str | None = None
    source: str = ""


class Labels(NamedTuple):
    """The columns of another dataset, row by row with the documents, that are attached for a stage.

    prefix   what stands before the names of the columns when they are attached
    columns  their names in the dataset, by the stage's Config
    """

    prefix: str
    columns: Callable[[Any], Sequence[str]]


@dataclass(frozen=True)
class Barrier:
    """A stage that needs all documents before it can judge one.

    folder    the folder of the documents that it leaves, where it is not the last barrier of a recipe
    datasets  the folders that its own passes write, in order
    passes    (job, steps, output) -> passes, each planned when the one before it is done; `steps` are the barrier's
              own step and the per-row steps behind it, `output` is where the documents go
    follows   the barriers that come before this one in a recipe that has both
    is_needed whether a Config asks for the barrier; without it, the stage judges row by row
    when      what a recipe says for the barrier to be needed, for error messages: " with keep_top"
    """

    folder: str
    datasets: tuple[str, ...]
    passes: Callable[[BarrierJob, Sequence[Step], str], Iterator[Pass]]
    follows: tuple[str, ...] = ()
    is_needed: Callable[[Any], bool] = lambda config: True
    when: str = ""


def _nothing(config: Any) -> Any:
    return ()


@dataclass(frozen=True)
class Stage:
    """The declaration of a stage. All parts but the first two are optional.

    name        in recipes, in DROPPED rows and in the report
    config      the frozen dataclass of its settings (see corpus.config.setting)
    process     (batch, config) -> Outcome: a pure function that treats every row on its own and keeps their order.
                A barrier has none, because its passes have steps of their own, and neither has [tokenizer]
    rules       every reason for which it drops a document
    command     the command of `corpus` that offers its settings as flags
    reads       rows of PAGES or of DOCUMENTS
    alone       it is given one row at a time, because a page may hang it
    time_limit  seconds of processor time for one guarded piece of work, by its Config; it holds for the whole pass
    libraries   distributions whose versions show in its output; they are part of the config hash
    implies     stages that run before this one without being named in a recipe
    presets     settings to begin with, by the name of the preset
    columns     the columns that it adds to DOCUMENTS, by its Config
    schema      what it writes instead of DOCUMENTS, by its Config
    footer      key-value pairs for the footer of what it writes, by its Config and what `count_kept` summed up
    resources   what decides its output besides the settings, such as the hash of a built-in model; it is part of the
                config hash
    localize    its Config with local files in the place of what is named by a web address
    is_idle     whether its Config leaves nothing to do; then it does not run
    labels      columns of another dataset that it reads
    row_column  a column that it is given, with the number of each row over all units
    audit       the schema of the rows that it shows for review, None where its Config asks for none
    count_kept  sums for its account over the rows that all stages of a pass keep (an Outcome's `sums` are over the rows
                that it has seen)
    sums        what its sums mean, by name: the summary of a pass shows them. A name that ends with `_` stands for all
                sums that begin so: the report shows them
    by_language whether a Config asks for the language of each document
    barrier     how it judges, where it needs all documents

    >>> from dataclasses import dataclass
    >>> from corpus import Drop, Rule, Stage, setting
    >>> from corpus.schema import outcome
    >>> @dataclass(frozen=True)
    ... class Config:
    ...     max_chars: int = setting(100, "drop a document with more characters", low=1)
    >>> def process(batch, config):
    ...     lengths = enumerate(map(len, batch.column("text").to_pylist()))
    ...     long = {row: Drop("short.long", n, config.max_chars) for row, n in lengths if n > config.max_chars}
    ...     return outcome(batch, "short", long)
    >>> STAGE = Stage("short", Config, process, rules=(Rule("long", "characters", "above", "max_chars"),))
    >>> STAGE.default(STAGE.rules[0])
    100
    """

    name: str
    config: type
    process: Callable[[pa.RecordBatch, Any], Outcome] | None = None
    rules: tuple[Rule, ...] = ()
    command: str = ""
    reads: Literal["pages", "documents"] = "documents"
    alone: bool = False
    time_limit: Callable[[Any], float] | None = None
    libraries: tuple[str, ...] = ()
    implies: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    columns: Callable[[Any], Sequence[pa.Field]] = _nothing
    schema: Callable[[Any], pa.Schema] | None = None
    footer: Callable[[Any, Mapping[str, int]], dict[str, str]] | None = None
    resources: Callable[[Any], Mapping[str, Any]] | None = None
    localize: Callable[[Any], Any] = lambda config: config
    is_idle: Callable[[Any], bool] = lambda config: False
    labels: Labels | None = None
    row_column: str | None = None
    audit: Callable[[Any], pa.Schema | None] = lambda config: None
    count_kept: Callable[[pa.RecordBatch, Any], Mapping[str, int]] | None = None
    sums: Mapping[str, str] = field(default_factory=dict)
    by_language: Callable[[Any], bool] = lambda config: bool(getattr(config, "language_tables", False))
    barrier: Barrier | None = None

    def __post_init__(self) -> None:
        """Raises ValueError naming the stage and the fix, if a declaration cannot be right."""
        if not (isinstance(self.config, type) and is_dataclass(self.config)):
            raise ValueError(f"stage {self.name}: config should be a frozen dataclass of its settings")
        if not self.config.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise ValueError(f"stage {self.name}: {self.config.__name__} should be frozen: @dataclass(frozen=True)")
        settings = [item.name for item in fields(self.config)]
        for rule in self.rules:
            if rule.setting is not None and rule.setting not in settings:
                raise ValueError(f"stage {self.name}: rule {rule.name} names {rule.setting}, which is no setting of it")

    def default(self, rule: Rule) -> Any:
        """The threshold of a rule where nothing else is set; None if no setting holds it."""
        return next((item.default for item in fields(self.config) if item.name == rule.setting), None)

    def barrier_of(self, config: Any) -> Barrier | None:
        """The barrier that these settings ask for, None if the stage judges row by row."""
        return self.barrier if self.barrier and self.barrier.is_needed(config) else None


@functools.cache
def load_stage(name: str) -> Stage:
    """The stage of this name in STAGES. Raises ValueError if its module does not declare it."""
    stage = getattr(importlib.import_module(STAGES[name]), "STAGE", None)
    if not isinstance(stage, Stage) or stage.name != name:
        raise ValueError(f"{STAGES[name]}: should declare STAGE = Stage({name!r}, ...); see corpus/stage.py")
    return stage


def stages_of(command: str) -> tuple[str, ...]:
    """The stages whose settings a command of `corpus` offers, in the order of STAGES."""
    return tuple(name for name in STAGES if load_stage(name).command == command)


def sums_meanings() -> dict[str, str]:
    """What the sums of all stages mean, by name, or by the beginning of a name that ends with `_`."""
    return {name: text for stage in STAGES for name, text in load_stage(stage).sums.items()}


def output_folders() -> tuple[str, ...]:
    """The datasets that a whole run may write, in the order in which documents flow through them."""
    barriers = [barrier for name in STAGES if (barrier := load_stage(name).barrier)]
    between = [folder for barrier in barriers for folder in (*barrier.datasets, barrier.folder)]
    return ("documents", *between, "clean", "tokenizer", "tokens")
