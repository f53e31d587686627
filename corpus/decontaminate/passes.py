"""The passes of decontamination: three find out which documents hold examples of benchmarks, one acts on it.

pass           its units   what a unit writes
benchmarks     one         an index of the word n-grams of all examples of the benchmarks
overlaps       a shard     which of these n-grams each document has
contamination  one         which n-grams to ignore, because too many documents have them; and a report of what was found
(documents)    a shard     the documents without the examples, after the per-row stages that follow in the recipe
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corpus.decontaminate.config import Removal, Search
from corpus.decontaminate.work import BenchmarksWork, ContaminationWork, committed
from corpus.engine.base import Unit
from corpus.run.barrier import BarrierJob, documents_behind, finished, labelled, shard_pass
from corpus.run.chain import Step
from corpus.run.plan import Pass, global_pass, with_no_others
from corpus.run.recipe import describe
from corpus.store.shards import Dataset

DATASETS = ("benchmarks", "overlaps", "contamination")


def decontaminate_passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    """All passes, each planned when the one before it is done. `steps` are `decontaminate` and the stages behind it.

    Raises Conflict if a folder holds other units.
    """
    yield from with_no_others(_passes(job, steps, output))


def _passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    config = steps[0].config
    described = describe(steps[:1])
    benchmarks, overlaps, contamination = (f"{job.work}/{name}" for name in DATASETS)
    make_index = Pass(
        "benchmarks",
        benchmarks,
        ["all"],
        lambda keys: [Unit(key, ()) for key in keys],
        described,
        lambda digest: BenchmarksWork("benchmarks", config, benchmarks, digest),
    )
    yield from finished(job, make_index)
    index = committed(benchmarks, "index")
    search = Step("overlaps", "corpus.decontaminate.overlaps", Search(index, config))
    yield from finished(job, shard_pass(job, search, overlaps, "labels", described))
    count_overlaps = global_pass(
        "contamination",
        contamination,
        ["all"],
        Dataset(overlaps).whole("labels"),
        described,
        lambda digest: ContaminationWork("contamination", config, contamination, digest, overlaps, benchmarks),
    )
    yield from finished(job, count_overlaps)
    removal = Removal(index, committed(contamination, "ignored"), config)
    remove = Step("decontaminate", "corpus.decontaminate.apply", removal)
    ignored = Dataset(contamination).whole("ignored")
    units = labelled(job.documents, overlaps)
    yield documents_behind(job, remove, steps, output, units, {"ignored": ignored.etag}, overlaps)
