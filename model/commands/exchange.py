"""`model export` and `model import`: models to and from Hugging Face's transformers."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bpe.arguments import check_apart
from bpe.terminal.help import FILES, Heading, command, json_option
from bpe.terminal.text import say
from model.commands.common import PATH, run_argument, usage

MODEL = Heading("Model")


@command()
@run_argument
@FILES.option("-o", "--output", type=PATH, required=True, help="directory to write")
@FILES.option(
    "--to", type=click.Choice(["hf"]), default="hf", show_default=True, help="hf: for Hugging Face's transformers"
)
@json_option
@MODEL.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="type of the written weights",
)
def export(run: Path, output: Path, to: str, dtype: str, as_json: bool) -> None:
    """Write a run's model, with its tokenizer, for Hugging Face's transformers.

    Examples:
      model export runs/first --to hf -o out/
      python -c "from transformers import pipeline; print(pipeline('text-generation', 'out/')('The'))"

    The default shape becomes Qwen3ForCausalLM, the default shape without QK-norm LlamaForCausalLM, and GPT-2's shape
    GPT2LMHeadModel.
    """
    from model.checkpoint import load_model, require_checkpoint

    with usage():
        check_apart([run], output)
    require_checkpoint(run)
    import torch

    from model.hf import export as write
    from model.tokenizer import run_tokenizer

    model, state = load_model(run, torch.device("cpu"), say)
    written = write(model, output, state["data"]["end_of_text"], run_tokenizer(run, state), dtype)
    if as_json:
        click.echo(json.dumps({"run": str(run), "files": [str(path) for path in written]}))
        return
    for path in written:
        say(f"{path}: {path.stat().st_size:,} bytes")


@command("import")
@click.argument("folder", type=PATH)
@FILES.option("-o", "--output", "run", type=PATH, required=True, help="run directory to make")
@FILES.option(
    "--tokenizer/--no-tokenizer", default=True, show_default="if there is one", help="also import tokenizer.json"
)
@json_option
@MODEL.option("--context", type=click.IntRange(1), show_default="the model's", help="longest sequence, in tokens")
def import_(folder: Path, run: Path, context: int | None, tokenizer: bool, as_json: bool) -> None:
    """Make a run of a Hugging Face model.

    Examples:
      model import Qwen3-0.6B-Base/ --context 4096 -o runs/qwen3
      model import gpt2/ -o runs/gpt2 && model sample runs/gpt2 --prompt "The"

    FOLDER holds config.json and safetensors files of a Qwen3, Llama or GPT-2 model. `model sample`, `eval`, `export`
    and `pretrain --from` take the run like any other.
    """
    with usage():
        check_apart([folder], run)
    if not (folder / "config.json").is_file():  # to import PyTorch takes seconds
        raise FileNotFoundError(
            f"{folder / 'config.json'}: no such file; give a folder of config.json and model.safetensors"
        )
    from model.hf import import_folder

    imported = import_folder(folder, run, context, tokenizer)
    if as_json:
        click.echo(json.dumps(imported._asdict()))
        return
    carried = f"tokenizer {imported.tokenizer[:12]}" if imported.tokenizer else "no tokenizer"
    say(f"{run}: {imported.architecture}, {imported.parameters:,} parameters, context {imported.context}, {carried}")
