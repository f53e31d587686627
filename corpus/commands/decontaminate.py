"""`corpus decontaminate`: drops or cuts documents that hold examples of benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bpe.terminal.help import command
from bpe.terminal.text import say, table
from corpus.commands.common import bare_recipe, columns_options, dataset_of, documents_options, execute, stage_steps

_EXAMPLES = 5  # examples shown


@command()
@documents_options("decontaminate")
@columns_options
def decontaminate(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
    """Remove examples of benchmarks: drop the documents that hold one, or cut the example out.

    Examples:
      corpus decontaminate docs/ --benchmarks evals/ -o clean/
      corpus decontaminate docs/ --benchmarks gsm8k.jsonl --field question --action cut -o clean/
      corpus decontaminate docs/ --benchmarks evals/ --preset gpt3 -o clean/

    An example is found by its word 13-grams. OUTPUT/contamination.json says for each example in how many documents it
    was found. OUTPUT/_decontaminate keeps the intermediate results.
    """
    from corpus.decontaminate.passes import decontaminate_passes
    from corpus.run.barrier import BarrierJob

    steps = stage_steps(("decontaminate",), recipe)
    documents = dataset_of("decontaminate", inputs, output, flags, steps)
    work = f"{output}/_decontaminate"
    job = BarrierJob(documents.dataset, documents.keys, bare_recipe(steps, flags), work, flags["share"])

    def plans() -> Iterator[Any]:
        yield from documents.passes
        for plan in decontaminate_passes(job, steps, output):
            if plan.output == output:
                say(_contamination(f"{work}/contamination", output))
            yield plan

    return execute(plans(), flags)


def _contamination(folder: str, output: str) -> str:
    """Copies the report in `folder` beside the documents of `output`; returns its figures as lines."""
    from corpus.run.commit import find_output
    from corpus.store.shards import Dataset

    data = Dataset(folder).content(find_output(Dataset(folder), "all", "contamination"))
    Dataset(output).storage.make_folder("")
    Dataset(output).storage.replace("contamination.json", data)
    report = json.loads(data)
    lines = [
        f"{report['contaminated_documents']:,} of {report['documents']:,} documents hold an example; "
        f"{report['ngrams']:,} n-grams looked for, {report['ignored_by_examples']:,} ignored as in many examples, "
        f"{report['ignored_by_documents']:,} as in many documents, {report['examples_too_short']:,} examples too short"
    ]
    rows = [("benchmark", "examples", "looked for", "found", "documents")]
    for row in report["benchmarks"]:
        counts = (f"{row[name]:,}" for name in ("examples", "looked_for", "found", "documents"))
        rows.append((row["benchmark"][:24], *counts))
    lines += table(rows, "<>>>>")
    for row in report["examples"][:_EXAMPLES]:
        excerpt = " ".join(row["text"].split())[:60]
        lines.append(f"  {row['benchmark']}:{row['example']} in {row['documents']:,} ({row['overlap']:.0%}): {excerpt}")
    return "\n".join(lines)
