"""`corpus mix`: documents of several sources, languages or scores, by weights."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any, NamedTuple

import click

from bpe.terminal.help import Heading, command, json_option
from bpe.terminal.text import say, table
from corpus.commands.common import columns_options, dataset_of, execute, output_option, work_options
from corpus.mix.draw import FINEWEB2


class _Amount(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """How much to take: a number of at least 1."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            amount = float(value)
        except ValueError:
            amount = math.nan
        if not (amount >= 1 and math.isfinite(amount)):
            self.fail(f"{value!r} should be a number of at least 1, as in 1000000 or 1e6", param, ctx)
        return amount


WEIGHTS = Heading("Weights")
AMOUNT = Heading("Amount")


@command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE[=WEIGHT]...")
@output_option
@WEIGHTS.option("--by", metavar="COLUMN", help="weigh the values of a column instead of the sources")
@WEIGHTS.option(
    "--weights", metavar="VALUE=WEIGHT,...", help="the weights of --by; a range of numbers is written LOW..HIGH"
)
@WEIGHTS.option(
    "--upsample-clusters",
    "clusters",
    is_flag=False,
    flag_value=FINEWEB2,
    metavar="[SIZE:WEIGHT,...]",
    help=f"repeat documents by the size of their cluster of duplicates; without a value as FineWeb-2: {FINEWEB2}",
)
@AMOUNT.option("--documents", type=_Amount(), metavar="N", help="take so many documents in all")
@AMOUNT.option("--tokens", type=_Amount(), metavar="N", help="take so many tokens in all")
@AMOUNT.option("--bytes", type=_Amount(), metavar="N", help="take so many bytes in all")
@AMOUNT.option(
    "--max-repeats",
    type=click.FloatRange(0, 1000, min_open=True),
    default=1.0,
    show_default=True,
    help="take a document at most so many times",
)
@AMOUNT.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="another seed takes other documents"
)
@columns_options
@work_options
@json_option
def mix(
    sources: tuple[str, ...],
    output: str,
    by: str | None,
    weights: str | None,
    clusters: str | None,
    seed: int,
    max_repeats: float,
    **flags: Any,
) -> int:
    """Take documents from datasets by weights; the result is a dataset of documents.

    Examples:
      corpus mix web/=0.7 books/=0.3 -o mixed/ --tokens 1e9 --max-repeats 4
      corpus mix docs/ --by language --weights en=0.7,de=0.3 -o mixed/
      corpus mix docs/ --by quality_score --weights 0..0.5=0.2,0.5..1.01=0.8 -o mixed/ --documents 100000
      corpus mix unique/ --upsample-clusters -o mixed/
      corpus mix fineweb/=0.8 'books/*.jsonl.zst=0.2' -o mixed/ --documents 1e6

    The id of a document and the seed decide how often it is taken. Without --documents, --tokens or --bytes, as much
    is taken as the weights allow. The column mix_group names where a document comes from, mix_copy numbers its copies.
    """
    from corpus.mix.draw import Grouping, parse_clusters
    from corpus.mix.passes import Mixture, mix_passes

    totals = {name: flags[name] for name in ("documents", "tokens", "bytes") if flags[name] is not None}
    try:
        if len(totals) > 1:
            raise ValueError(f"--{' and --'.join(totals)}: give one of them, not both")
        weighed = _weighed(sources, by, weights, clusters, next(iter(totals), None))
        cluster_weights = parse_clusters(clusters) if clusters else ()
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    documents = {
        name: dataset_of("mix", (path,), output, flags, folder=f"{output}/_import/{name}")
        for name, path in weighed.named.items()
    }
    for read in documents.values():
        if by and read.source.files and by not in read.source.files.schema.names:
            raise click.UsageError(f"--by {by}: the files have no such column; name it with --map, or --keep-columns")
    measure, total = next(iter(totals.items()), ("documents", None))
    grouping = Grouping(tuple(weighed.weights), by or "", measure, cluster_weights)
    datasets = {name: read.dataset for name, read in documents.items()}
    mixture = Mixture(datasets, grouping, weighed.weights, output, total, max_repeats, seed, flags["share"])
    imports = itertools.chain.from_iterable(read.passes for read in documents.values())
    status = execute(itertools.chain(imports, mix_passes(mixture)), flags)
    if status == 0:
        _show_mixture(mixture)
    return status


class _Weighed(NamedTuple):
    """The sources of a mixture, and the weights of the sources or of the values of a column."""

    paths: list[str]
    named: dict[str, str]  # as corpus.mix.passes.name_sources gives them
    weights: dict[str, float]


def _weighed(
    sources: tuple[str, ...], by: str | None, weights: str | None, clusters: str | None, total: str | None
) -> _Weighed:
    """Raises ValueError naming the option and the fix."""
    from corpus.mix.draw import check_names, parse_weights
    from corpus.mix.passes import name_sources

    if bool(by) != bool(weights):
        raise ValueError("--by COLUMN and --weights NAME=WEIGHT,... need each other")
    if weights:
        paths, weighed = list(sources), parse_weights(weights.split(","))
        check_names(list(weighed), by or "")
    elif clusters and not any("=" in source for source in sources):
        paths, weighed = list(sources), {}
        if total:
            raise ValueError(f"--{total}: needs weights; write SOURCE=WEIGHT")
    else:
        given = parse_weights(sources)
        paths, weighed = list(given), dict(zip(name_sources(list(given)), given.values(), strict=True))
    return _Weighed(paths, name_sources(paths), weighed)


def _show_mixture(mixture: Any) -> None:
    """Writes mix.json beside the documents, and prints its groups as a table."""
    from corpus.mix.passes import parts, taken
    from corpus.store.shards import Dataset

    dataset = Dataset(mixture.output)
    if dataset.missing(Dataset(f"{mixture.work}/groups").units()):
        return  # other tasks are at work
    amounts = taken(mixture)
    whole = sum(amounts.values()) or 1
    measure = mixture.grouping.measure
    groups: list[dict[str, Any]] = [
        {
            "group": part.name,
            "have": part.have,
            "factor": part.factor,
            "taken": amounts.get(part.name, 0),
            "wanted_share": part.share,
            "share": amounts.get(part.name, 0) / whole,
        }
        for part in parts(mixture)
    ]
    dataset.storage.replace("mix.json", (json.dumps({"measure": measure, "groups": groups}, indent=1) + "\n").encode())
    rows = [("group", measure, "taken", "times", "wanted", "share")]
    for group in groups:
        sizes = f"{group['have']:,.0f}", f"{group['taken']:,}", f"{group['factor']:.3g}"
        rows.append((group["group"][:24], *sizes, f"{group['wanted_share']:.1%}", f"{group['share']:.1%}"))
    for line in table(rows, "<>>>>>"):
        say(line)
