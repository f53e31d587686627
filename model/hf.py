"""Export and import of models in Hugging Face's format: a folder of config.json and model.safetensors.

`export` writes a folder that `AutoModelForCausalLM.from_pretrained` reads without custom code. `import_folder` reads
such a folder, whoever wrote it, and makes a run of 0 steps from it: to sample from, to score, or to train further.
`model/hf_shapes.py` lists the shapes that both sides know.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bpe.files import HEADERS, load_vocabulary, save_vocabulary
from bpe.parse import brief, parse_json
from bpe.vocabulary import Vocabulary
from bpe.whole import make_folder, whole, write_whole
from corpus.store.local import check_below
from model.checkpoint import checkpoints, save
from model.config import ModelConfig, as_dict
from model.device import check_memory
from model.gpt import GPT, parameter_count
from model.hf_shapes import ARCHITECTURES, Architecture, architecture_of, to_ours, to_theirs
from model.tokenizer import Tokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# Ends of the names of tensors that older files hold although they follow from config.json: masks and RoPE periods.
_DERIVED = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


# --- export ------------------------------------------------------------------------------------------------


def export(
    model: GPT, directory: Path, end_of_text: int | None, tokenizer: Tokenizer | None, dtype: str = "float32"
) -> list[Path]:
    """Write the model to a folder: weights, config.json and, if there is a tokenizer, tokenizer.json.

    `dtype` is a name in DTYPES, `end_of_text` the id that begins and ends a text. Returns the paths of the files.
    Raises ValueError before it writes anything if transformers has no class for the model, naming the settings.
    """
    architecture = architecture_of(model.config)
    ends = {} if end_of_text is None else {"bos_token_id": end_of_text, "eos_token_id": end_of_text}
    kind = {"architectures": [architecture.name], "torch_dtype": dtype}
    contents = {
        "config.json": to_json({**kind, **architecture.describe(model.config), **ends}),
        "generation_config.json": to_json(ends),
    }
    if tokenizer is not None:
        from bpe.export import hugging_face

        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.config.context}
        if (end := tokenizer.vocabulary.ending) is not None:
            settings |= {"bos_token": end, "eos_token": end}
        contents["tokenizer.json"] = hugging_face(tokenizer.vocabulary)
        contents["tokenizer_config.json"] = to_json(settings)
    make_folder(directory)
    weights = to_theirs(architecture.pieces(model.config), model.state_dict())
    weights = {name: weight.to("cpu", DTYPES[dtype]).contiguous() for name, weight in weights.items()}
    with whole(directory / WEIGHTS) as partial:
        save_file(weights, partial, metadata={"format": "pt"})
    for name, content in contents.items():
        write_whole(directory / name, content)
    return [directory / name for name in (WEIGHTS, *contents)]


def to_json(content: dict[str, Any]) -> bytes:
    """The content of a JSON file, indented."""
    return (json.dumps(content, indent=2) + "\n").encode()


# --- import ------------------------------------------------------------------------------------------------


class Imported(NamedTuple):
    """The result of an import; `model import --json` prints it."""

    run: str
    architecture: str
    parameters: int
    context: int
    tokenizer: str | None  # its hash


def import_folder(source: Path, run: Path, context: int | None = None, with_tokenizer: bool = True) -> Imported:
    """Make the run directory `run` from the folder `source`: a checkpoint of step 0 in fp32, and the tokenizer.

    `context`, in tokens, may be shorter than the model's own. `with_tokenizer` imports the tokenizer if the folder has
    one. Raises FileNotFoundError for a file that is missing, ValueError naming file and field, tensor or token for
    something that cannot be read or that our model does not compute.
    """
    if checkpoints(run):
        raise ValueError(f"{run}: holds a run already; choose another -o")
    architecture, theirs, content = _read_config(source / "config.json")
    if context is not None and not 1 <= context <= theirs.context:
        raise ValueError(f"context = {context}: should be between 1 and the model's own, {theirs.context}")
    config = ModelConfig(**{**as_dict(theirs), "context": context or theirs.context})
    vocabulary = _read_tokenizer(source, config.vocab_size) if with_tokenizer else None
    try:
        check_memory(config)
    except ValueError as error:
        raise ValueError(f"{source / 'config.json'}: {error}") from error
    model = _filled(source, architecture, theirs, config)
    identity = {
        "model": as_dict(config),
        "train": None,
        "data": {
            "fingerprint": None,
            "tokenizer_hash": vocabulary.hash if vocabulary else None,
            "end_of_text": _end_of_text(content, vocabulary, config.vocab_size),
        },
    }
    make_folder(run)
    if vocabulary is not None:
        check_below(run, run / "tokenizer")
        save_vocabulary(vocabulary, run / "tokenizer")
    write_whole(run / "config.json", to_json(identity))
    save(run, 0, {**identity, "weights": model.state_dict()}, keep=1)
    return Imported(
        str(run), architecture.name, parameter_count(model), config.context, vocabulary.hash if vocabulary else None
    )


def _read_config(path: Path) -> tuple[Architecture, ModelConfig, dict[str, Any]]:
    """The architecture that a config.json names, its settings as ModelConfig, and its content."""
    content = _read_json(path)
    names = content.get("architectures")
    name = names[0] if isinstance(names, list) and names else names
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ValueError(f"{path}: architecture {brief(name)} cannot be read, only {', '.join(ARCHITECTURES)}")
    if content.get("quantization_config"):
        raise ValueError(f"{path}: its weights are quantized; only float weights can be read")
    architecture = ARCHITECTURES[name]
    try:
        return architecture, architecture.read(content), content
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: {brief(error, 500)}") from error


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises FileNotFoundError or ValueError naming the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a folder of config.json and {WEIGHTS}")
    try:
        content = parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: should be a JSON object, not a {type(content).__name__}")
    return content


def _read_tokenizer(source: Path, vocab_size: int) -> Vocabulary | None:
    # tokenizer.json goes first: a vocab.json beside it does not say how text is split into pretokens.
    present = [source / name for name in ("tokenizer.json", *HEADERS) if (source / name).is_file()]
    if not present:
        return None
    try:
        vocabulary = load_vocabulary(present[0])
    except ValueError as error:
        raise ValueError(f"{error}; --no-tokenizer imports the weights alone") from error
    if vocabulary.size > vocab_size:
        raise ValueError(f"{present[0]}: has {vocabulary.size} ids, the model's embedding {vocab_size} rows")
    return vocabulary


def _end_of_text(content: dict[str, Any], vocabulary: Vocabulary | None, vocab_size: int) -> int | None:
    """The id between documents: the tokenizer's, or else the eos_token_id of config.json, if it has one.

    The tokenizer's id goes first because a chat model's config.json may name the id that ends an answer. The end of a
    tokenizer without `<|endoftext|>` was read from this config.json (`bpe.imports.end_beside`).
    """
    if vocabulary is not None and vocabulary.ending is not None:
        return vocabulary.end_of_text
    ends = content.get("eos_token_id")
    ids = ends if isinstance(ends, list) else [ends]
    return next((one for one in ids if type(one) is int and 0 <= one < vocab_size), None)


def _filled(source: Path, architecture: Architecture, theirs: ModelConfig, config: ModelConfig) -> GPT:
    """A model of the shape `config` with the weights in the folder, whose config.json says `theirs`.

    Raises as `import_folder`. Shapes are compared before memory is asked for.
    """
    files = dict(_tensor_files(source))
    if config.layers > len(files):
        raise ValueError(f"{source}: holds {len(files)} tensors, and config.json asks for {config.layers} layers")
    with torch.device("meta"):  # shapes without memory
        shape = GPT(config)
    _read_weights(source, files, architecture, theirs, shape, _tensor_shape)
    model = GPT(config)
    _read_weights(source, files, architecture, theirs, model, _read_tensor)
    return model


@torch.no_grad()
def _read_weights(
    source: Path,
    files: dict[str, Path],
    architecture: Architecture,
    theirs: ModelConfig,
    model: GPT,
    load: Callable[[Path, str], Tensor],
) -> None:
    """Fill `model` with the tensors that `load` reads from `files`. Raises as `import_folder`."""
    unread = set(files)

    def read(name: str) -> Tensor:
        # OpenAI's files of GPT-2 name the tensors without this prefix.
        stored = name if name in files else name.removeprefix("transformer.")
        if stored not in files:
            raise ValueError(f"holds no tensor {name}")
        unread.discard(stored)
        return load(files[stored], stored).float()

    try:
        to_ours(architecture.pieces(theirs), read, model.state_dict())
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    stored_twice = theirs.tied and "lm_head.weight" in unread  # some programs store a tied embedding a second time
    head, embedding = read("lm_head.weight") if stored_twice else None, model.embedding.weight[: theirs.vocab_size]
    if head is not None and not embedding.is_meta and not torch.equal(head, embedding):
        raise ValueError(f"{source}: lm_head.weight is not the embedding, as tie_word_embeddings says")
    unknown = sorted(name for name in unread if not name.endswith(_DERIVED))
    if unknown:
        tensor = brief(unknown[0])
        raise ValueError(f"{source}: holds {tensor}, which {architecture.name} of this configuration has not")


def _tensor_files(source: Path) -> Iterator[tuple[str, Path]]:
    """The name and the file of each tensor: all in model.safetensors, or in several files that an index lists."""
    index = source / INDEX
    if index.is_file() and not (source / WEIGHTS).is_file():
        names = _read_json(index).get("weight_map")
        if not isinstance(names, dict) or not names:
            raise ValueError(f"{index}: damaged (it has no weight_map)")
        for name, file in names.items():
            if not isinstance(file, str) or Path(file).name != file:
                entry = brief(f"weight_map.{name}")
                raise ValueError(f"{index}: damaged ({entry} should be the name of a file in the folder)")
        yield from ((name, source / file) for name, file in names.items())
        return
    path = source / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; weights are read from safetensors files only")
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({brief(error)})") from error
    yield from ((name, path) for name in names)


def _read_tensor(path: Path, name: str) -> Tensor:
    with _tensor_file(path) as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


def _tensor_shape(path: Path, name: str) -> Tensor:
    """A tensor of the shape in the file, which has no memory."""
    with _tensor_file(path) as file:
        return torch.empty(file.get_slice(name).get_shape(), device="meta")


@contextlib.contextmanager
def _tensor_file(path: Path) -> Iterator[Any]:
    """The safetensors file, open. Whatever reading it raises becomes a ValueError that names it."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, though {INDEX} names it")
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is damaged ({brief(error)})") from error  # some kinds are raised for a dtype
