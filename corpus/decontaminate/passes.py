"""The passes of decontamination: three that find out what of the benchmarks is where, one that acts on it.

benchmarks     one unit           the index of their n-grams
overlaps       a unit a shard     which of these its documents have
contamination  one unit           of all overlaps: what says nothing, and the report
(documents)    a unit a shard     without it, through the stages that follow
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corpus.decontaminate.config import Apply, Search
from corpus.decontaminate.work import BenchmarksWork, ContaminationWork, committed
from corpus.engine.base import Unit
from corpus.run.barrier import BarrierJob, documents_behind, labelled, shard_pass
from corpus.run.chain import Step
from corpus.run.plan import Pass, global_pass, wait_for, with_no_others
from corpus.run.recipe import describe
from corpus.store.shards import Dataset

DATASETS = ("benchmarks", "overlaps", "contamination")


def decontaminate_passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    """All passes, `steps` being the stage `decontaminate` and those behind it; each planned when the last one is done.

    Raises Conflict if a folder holds other units.
    """
    yield from with_no_others(_passes(job, steps, output))


def _passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    config = steps[0].config
    described = describe(steps[:1])
    benchmarks, overlaps, found = (f"{job.work}/{name}" for name in DATASETS)
    yield Pass(
        "benchmarks",
        benchmarks,
        ["all"],
        lambda keys: [Unit(key, ()) for key in keys],
        described,
        lambda digest: BenchmarksWork("benchmarks", config, benchmarks, digest),
    )
    wait_for(benchmarks, ["all"], job.share)
    index = committed(benchmarks, "index")
    search = Step("overlaps", "corpus.decontaminate.overlaps", Search(index, config))
    yield shard_pass(job, search, overlaps, "labels", described)
    wait_for(overlaps, job.keys, job.share)
    yield global_pass(
        "contamination",
        found,
        ["all"],
        Dataset(overlaps).whole("labels"),
        described,
        lambda digest: ContaminationWork("contamination", config, found, digest, overlaps, benchmarks),
    )
    wait_for(found, ["all"], job.share)
    ignored = Dataset(found).whole("ignored")
    apply = Step("decontaminate", "corpus.decontaminate.apply", Apply(index, committed(found, "ignored"), config))
    units = labelled(job.documents, overlaps)
    yield documents_behind(job, apply, steps, output, units, {"ignored": ignored.etag}, overlaps)
