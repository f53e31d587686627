"""The subcommands of `corpus` that choose among clean documents: what benchmarks hold, and how much of which source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from corpus.cli import JSON, OUTPUT, make_command
from corpus.commands.stages import bare_recipe, documents_source, engine_options, execute, stage_command, stage_steps


def decontaminate_command() -> click.Command:
    def decontaminate(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
        from corpus.decontaminate.passes import decontaminate_passes
        from corpus.pipeline import source_keys
        from corpus.run.barrier import BarrierJob

        steps = stage_steps(("decontaminate",), recipe)
        source = documents_source("decontaminate", inputs)
        work = f"{output}/_decontaminate"
        job = BarrierJob(source.dataset, source_keys(source), bare_recipe(steps, flags), work, flags["share"])

        def plans() -> Iterator[Any]:
            for plan in decontaminate_passes(job, steps, output):
                if plan.output == output:
                    click.echo(_contamination(f"{work}/contamination", output), err=True)
                yield plan

        return execute(plans(), flags)

    return stage_command(
        decontaminate,
        ("decontaminate",),
        """Documents without what benchmarks ask: those that hold an example are dropped, or it is cut out.

        An example is found by its word 13-grams. OUTPUT/contamination.json says which examples were found, and in how
        many documents. What is found out on the way is kept below OUTPUT/_decontaminate.

        \b
        corpus decontaminate docs/ --benchmarks evals/ -o clean/
        corpus decontaminate docs/ --benchmarks gsm8k.jsonl --field question --action cut -o clean/
        corpus decontaminate docs/ --benchmarks evals/ --preset gpt3 -o clean/
        """,
    )


def _contamination(folder: str, output: str) -> str:
    """The report of what was found, as a table; the whole of it beside the documents."""
    from corpus.decontaminate.work import committed
    from corpus.store.shards import Dataset

    data = Dataset(folder).storage.read(committed(folder, "contamination").removeprefix(f"{folder}/")) or b""
    Dataset(output).storage.make_folder("")
    Dataset(output).storage.replace("contamination.json", data)
    told = json.loads(data)
    lines = [
        f"{told['contaminated_documents']:,} of {told['documents']:,} documents hold an example; "
        f"{told['ngrams']:,} n-grams looked for, {told['ignored_by_examples']:,} ignored as in many examples, "
        f"{told['ignored_by_documents']:,} as in many documents, {told['examples_too_short']:,} examples too short",
        f"{'benchmark':<24} {'examples':>9} {'looked for':>11} {'found':>7} {'documents':>10}",
    ]
    for row in told["benchmarks"]:
        counts = f"{row['examples']:>9,} {row['looked_for']:>11,} {row['found']:>7,} {row['documents']:>10,}"
        lines.append(f"{row['benchmark'][:24]:<24} {counts}")
    for row in told["examples"][:5]:
        excerpt = " ".join(row["text"].split())[:60]
        lines.append(f"  {row['benchmark']}:{row['example']} in {row['documents']:,} ({row['overlap']:.0%}): {excerpt}")
    return "\n".join(lines)


def mix_command() -> click.Command:
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
        from corpus.mix.draw import Grouping, check_names, parse_clusters, parse_weights
        from corpus.mix.passes import Mixture, mix_passes, name_sources

        totals = {name: flags[name] for name in ("documents", "tokens", "bytes") if flags[name] is not None}
        try:
            if len(totals) > 1:
                raise ValueError(f"--{' and --'.join(totals)}: one of them says how much is wanted")
            if bool(by) != bool(weights):
                raise ValueError("--by COLUMN and --weights NAME=WEIGHT,... need each other")
            if weights:
                paths, weighed = list(sources), parse_weights(weights.split(","))
                check_names(list(weighed), by or "")
            elif clusters and not any("=" in source for source in sources):
                paths, weighed = list(sources), {}
                if totals:
                    raise ValueError(f"--{next(iter(totals))}: needs weights; write SOURCE=WEIGHT")
            else:
                given = parse_weights(sources)
                paths, weighed = list(given), dict(zip(name_sources(list(given)), given.values(), strict=True))
            named = name_sources(paths)
            measure = next(iter(totals), "documents")
            cluster_weights = parse_clusters(clusters) if clusters else ()
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        for path in paths:
            documents_source("mix", (path,))
        grouping = Grouping(tuple(weighed), by or "", measure, cluster_weights)
        total = next(iter(totals.values()), None)
        mixture = Mixture(named, grouping, weighed, output, total, max_repeats, seed, flags["share"])
        status = execute(mix_passes(mixture), flags)
        if status == 0:
            _show_mixture(mixture)
        return status

    from corpus.mix.draw import FINEWEB2

    options: list[click.Parameter] = [
        click.Argument(["sources"], nargs=-1, required=True, metavar="SOURCE[=WEIGHT]..."),
        OUTPUT,
        click.Option(["--by"], metavar="COLUMN", help="weigh the values of a column, instead of sources"),
        click.Option(["--weights"], metavar="VALUE=WEIGHT,...", help="with --by; a range of numbers is LOW..HIGH"),
        *(
            click.Option([f"--{name}"], type=click.FloatRange(1), metavar="N", help=f"take so many {name} in all")
            for name in ("documents", "tokens", "bytes")
        ),
        click.Option(
            ["--max-repeats"],
            type=click.FloatRange(0, 1000, min_open=True),
            default=1.0,
            show_default=True,
            help="take no group more often than so many times",
        ),
        click.Option(
            ["--upsample-clusters", "clusters"],
            is_flag=False,
            flag_value=FINEWEB2,
            metavar="SIZE:WEIGHT,...",
            help=f"repeat documents by the size of their cluster of duplicates; alone: FineWeb-2's {FINEWEB2}",
        ),
        click.Option(
            ["--seed"], type=click.IntRange(0), default=1, show_default=True, help="another seed, other documents"
        ),
        *engine_options(),
        JSON,
    ]
    return make_command(
        mix,
        """Take from datasets of documents by weights; the result is a dataset of documents.

        Whether and how often a document is taken is decided by its id and the seed. Without a total, as much is taken
        as the weights allow. The column mix_group says where a document comes from, mix_copy which copy it is.

        \b
        corpus mix web/=0.7 books/=0.3 -o mixed/ --tokens 1e9 --max-repeats 4
        corpus mix docs/ --by language --weights en=0.7,de=0.3 -o mixed/
        corpus mix docs/ --by quality_score --weights 0..0.5=0.2,0.5..1.01=0.8 -o mixed/ --documents 100000
        corpus mix unique/ --upsample-clusters -o mixed/
        """,
        options,
    )


def _show_mixture(mixture: Any) -> None:
    """What was wanted and what it has become: a table, and mix.json beside the documents."""
    from corpus.mix.passes import parts, taken
    from corpus.store.shards import Dataset

    dataset = Dataset(mixture.output)
    if dataset.missing(Dataset(f"{mixture.work}/groups").units()):
        return  # other tasks are at work
    found = taken(mixture)
    whole = sum(found.values()) or 1
    measure = mixture.grouping.measure
    rows: list[dict[str, Any]] = [
        {
            "group": part.name,
            "have": part.have,
            "factor": part.factor,
            "taken": found.get(part.name, 0),
            "wanted_share": part.share,
            "share": found.get(part.name, 0) / whole,
        }
        for part in parts(mixture)
    ]
    dataset.storage.replace("mix.json", (json.dumps({"measure": measure, "groups": rows}, indent=1) + "\n").encode())
    click.echo(f"{'group':<24} {measure:>14} {'taken':>14} {'times':>7} {'wanted':>7} {'share':>7}", err=True)
    for row in rows:
        sizes = f"{row['have']:>14,.0f} {row['taken']:>14,} {row['factor']:>7.3g}"
        click.echo(f"{row['group'][:24]:<24} {sizes} {row['wanted_share']:>7.1%} {row['share']:>7.1%}", err=True)
