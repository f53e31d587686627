"""The subcommands of `corpus` that choose among clean documents: what benchmarks hold, and how much of which source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from corpus.commands import bare_recipe, documents_source, execute, stage_command, stage_steps


def decontaminate_command() -> click.Command:
    def decontaminate(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
        from corpus.passes_decontaminate import decontaminate_passes
        from corpus.passes_dedup import Job
        from corpus.pipeline import source_keys

        steps = stage_steps(("decontaminate",), recipe)
        source = documents_source("decontaminate", inputs)
        work = f"{output}/_decontaminate"
        job = Job(source.dataset, source_keys(source), bare_recipe(steps, flags), work, flags["share"])

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

        \\b
        corpus decontaminate docs/ --benchmarks evals/ -o clean/
        corpus decontaminate docs/ --benchmarks gsm8k.jsonl --field question --action cut -o clean/
        corpus decontaminate docs/ --benchmarks evals/ --preset gpt3 -o clean/
        """,
    )


def _contamination(folder: str, output: str) -> str:
    """The report of what was found, as a table; the whole of it beside the documents."""
    from corpus.shards import Dataset
    from corpus.work_decontaminate import committed

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
