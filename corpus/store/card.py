"""The card of a dataset: the README.md by which `datasets` finds the shards of a folder that a command has written.

A dataset has shards in `data/` and in `dropped/`, with other columns, and a manifest beside them. Without a card,
`datasets.load_dataset(folder)` takes all Parquet files for one table and fails. The YAML header of the card names a
configuration for each of the two folders (https://huggingface.co/docs/hub/datasets-manual-configuration).
"""

from __future__ import annotations

NAME = "README.md"
_ABOUT = {
    "documents": "Documents, one a row, as a command of `corpus` has written them.",
    "tokens": "Token ids, one document a row, as a command of `corpus` has written them.",
}
KINDS = tuple(_ABOUT)  # kinds of shards whose dataset has a card


def dataset_card(kind: str, dropped: bool) -> str:
    """The card of a dataset of documents or tokens; `dropped`: it names the shards in `dropped/` too."""
    configs = {"default": "data"} | ({"dropped": "dropped"} if dropped else {})
    lines = ["---", "configs:"]
    for name, folder in configs.items():
        lines += [f"- config_name: {name}", "  data_files:", "  - split: train", f"    path: {folder}/*.parquet"]
    lines += ["---", "", _ABOUT[kind], "", "```python", "import datasets", "", 'rows = datasets.load_dataset("FOLDER")']
    if dropped:
        lines += ['drops = datasets.load_dataset("FOLDER", "dropped")  # one row for each dropped document, and why']
    lines += ["```", "", "DuckDB: `FROM read_parquet('FOLDER/data/*.parquet')`. "]
    lines[-1] += "Polars: `scan_parquet('FOLDER/data/*.parquet')`."
    return "\n".join([*lines, ""])
