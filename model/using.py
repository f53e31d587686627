"""A trained model from Python: read it, continue prompts, score data and texts, exchange it with transformers.

The functions do what `model sample`, `eval`, `export` and `import` do. A model is named by its run directory, or has
been read by `load_model`. Nothing is printed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bpe import arguments
from bpe.tokenizer import Tokenizer
from model.checkpoint import load_model as read_model
from model.device import micro_batch_tokens, pick_device
from model.draw import Sampling
from model.evaluate import Evaluation, Scoring, evaluate, evaluate_data
from model.gpt import GPT
from model.hf import DTYPES, Imported, export, import_folder
from model.prompt import Ending, Writer
from model.sample import generate_batch, generate_tokens
from model.tokenizer import Tokenizer as Codec
from model.tokenizer import run_tokenizer


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A run's model in memory, with its tokenizer: what `load_model` returns.

    >>> import bpe
    >>> from model import GPT, LoadedModel, ModelConfig
    >>> tokenizer = bpe.train_tokenizer(["low lower lowest"], 270)
    >>> shape = ModelConfig(270, context=16, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)
    >>> model = LoadedModel(GPT(shape), tokenizer)
    >>> model.gpt.config.layers, model.tokenizer.n_vocab
    (1, 264)
    """

    gpt: GPT  # on its device, with weights in fp32
    tokenizer: Tokenizer | None  # None if the run has none
    run: Path | None = None  # the run directory; None for a model that was made in memory
    state: dict[str, Any] = dataclasses.field(default_factory=dict)  # the checkpoint without the weights

    def __post_init__(self) -> None:
        arguments.instance("gpt", self.gpt, GPT, "or call load_model")
        if self.tokenizer is not None:
            arguments.instance("tokenizer", self.tokenizer, Tokenizer, "of the package bpe, or None")

    @property
    def codec(self) -> Codec:
        """The tokenizer as prompts and scores need it. Raises ValueError if the run has none."""
        if self.tokenizer is None:
            raise ValueError(
                f"{self.run or 'the model'}: holds no tokenizer; repeat the training with tokenizer= to add it"
            )
        return Codec(self.tokenizer.vocabulary)


AnyModel = str | Path | LoadedModel  # a run directory, or a model that `load_model` has read from one


def load_model(run: str | Path, *, device: str = "auto", log: Callable[[str], None] | None = None) -> LoadedModel:
    """The model of a run's newest whole checkpoint, and the run's tokenizer.

    `device` is "cpu", "cuda", "cuda:N" or "auto" (CUDA if there is a GPU). `log` gets a line for each damaged
    checkpoint that is passed over.

    Raises FileNotFoundError if the run has no checkpoint, ValueError if all are damaged or there is no such device.

    >>> from model import load_model
    >>> load_model("runs/none")
    Traceback (most recent call last):
    FileNotFoundError: runs/none: holds no checkpoint; train one with `model pretrain -o runs/none`
    """
    path = Path(arguments.path("run", run))
    arguments.function("log", log)
    with arguments.without_flags():
        gpt, state = read_model(path, pick_device(arguments.string("device", device)), log or _ignore)
        codec = run_tokenizer(path, state)
    return LoadedModel(gpt, Tokenizer(codec.vocabulary) if codec else None, path, state)


def _ignore(line: str) -> None:
    pass


def _loaded(run: AnyModel, device: str) -> LoadedModel:
    """The model of `run`. Raises ValueError if it has been read already, and is on another device."""
    if not isinstance(run, LoadedModel):
        return load_model(run, device=device)
    if arguments.string("device", device) != "auto":
        wanted, present = pick_device(device), run.gpt.embedding.weight.device
        if wanted.type != present.type or wanted.index not in (None, present.index):
            raise ValueError(f"device = {device!r}: the model is on {present}; pass device to load_model")
    return run


def generate(
    run: AnyModel,
    prompt: str = "",
    *,
    max_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 50,
    top_p: float = 1.0,
    stop: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
) -> str:
    """The text with which the model continues `prompt`: the sample that `model sample` prints after the prompt.

    `run` is a run directory, which is read on `device`, or a `LoadedModel`, which saves reading it each time and has
    its device already. The empty prompt begins a document. The text ends before the first of the texts `stop`, where
    the model ends the document, or after `max_tokens` tokens. `temperature` divides the logits; 0 always takes the
    likeliest token. Tokens are drawn from the `top_k` likeliest (0: all), and of these from the likeliest that have the
    probability `top_p` together (nucleus sampling, arXiv:1904.09751). Equal arguments give equal texts on a CPU;
    another `seed` draws another text.

    Raises TypeError for a value of a wrong type, ValueError for a value out of bounds, for a run without a tokenizer
    and for a `LoadedModel` that is not on `device`, FileNotFoundError for no run.

    >>> import bpe
    >>> from model import GPT, LoadedModel, ModelConfig, generate
    >>> tokenizer = bpe.train_tokenizer(["low lower lowest"], 270)
    >>> shape = ModelConfig(270, context=16, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)
    >>> model = LoadedModel(GPT(shape), tokenizer)
    >>> generate(model, "low", max_tokens=3) == generate(model, "low", max_tokens=3)
    True
    """
    sampling = Sampling(max_tokens, temperature, top_k, top_p, seed)
    return "".join(_pieces(_loaded(run, device), prompt, sampling, stop))


def generate_stream(
    run: AnyModel,
    prompt: str = "",
    *,
    max_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 50,
    top_p: float = 1.0,
    stop: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
) -> Iterator[str]:
    """The text of `generate` in pieces, each as soon as its tokens are drawn.

    A piece is whole characters, never half of one, and never the beginning of a text in `stop`. To stop early, leave
    the loop. Raises as `generate` does, before the first piece.

    >>> import bpe
    >>> from model import GPT, LoadedModel, ModelConfig, generate, generate_stream
    >>> tokenizer = bpe.train_tokenizer(["low lower lowest"], 270)
    >>> shape = ModelConfig(270, context=16, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)
    >>> model = LoadedModel(GPT(shape), tokenizer)
    >>> "".join(generate_stream(model, "low", max_tokens=9)) == generate(model, "low", max_tokens=9)
    True
    """
    sampling = Sampling(max_tokens, temperature, top_k, top_p, seed)
    return _pieces(_loaded(run, device), prompt, sampling, stop)


def _pieces(loaded: LoadedModel, prompt: str, sampling: Sampling, stop: Sequence[str]) -> Iterator[str]:
    """The pieces of `generate_stream`. Errors come now, not with the first piece."""
    codec, ending = loaded.codec, _ending(loaded.codec, stop)
    ids, end_of_text = codec.encode(arguments.string("prompt", prompt)), codec.vocabulary.end_of_text

    def pieces() -> Iterator[str]:
        written: list[str] = []
        writer = Writer(ending, written.append)
        for token in generate_tokens(loaded.gpt, ids, end_of_text, sampling, ending.reached):
            writer.token(token)
            yield from written
            written.clear()
        writer.close()
        yield from written

    return pieces()


def generate_many(
    run: AnyModel,
    prompts: Sequence[str],
    *,
    count: int = 1,
    max_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 50,
    top_p: float = 1.0,
    stop: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
) -> Iterator[list[str]]:
    """For each of `prompts`, in order, `count` texts that continue it; many are drawn at once, which is faster.

    The first text of a prompt is that of `generate`, the others are drawn with random numbers of their own; they are
    the samples of `model sample -n COUNT`. The other arguments and the errors are those of `generate`.

    >>> import bpe
    >>> from model import GPT, LoadedModel, ModelConfig, generate_many
    >>> tokenizer = bpe.train_tokenizer(["low lower lowest"], 270)
    >>> shape = ModelConfig(270, context=16, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)
    >>> model = LoadedModel(GPT(shape), tokenizer)
    >>> [len(answers) for answers in generate_many(model, ["low", "lowest"], count=3, max_tokens=9)]
    [3, 3]
    """
    texts = arguments.strings("prompts", prompts)
    count = arguments.whole_number("count", count, 1)
    sampling = Sampling(max_tokens, temperature, top_k, top_p, seed)
    loaded = _loaded(run, device)
    codec, ending = loaded.codec, _ending(loaded.codec, stop)
    ids = [codec.encode(text) for text in texts]
    answers = generate_batch(loaded.gpt, ids, codec.vocabulary.end_of_text, sampling, count, ending.reached)
    return ([ending.text(sample.tokens) for sample in samples] for samples in answers)


def _ending(codec: Codec, stop: Sequence[str]) -> Ending:
    return Ending(codec, arguments.strings("stop", stop))


# --- scores ------------------------------------------------------------------------------------------------


def evaluate_model(
    run: AnyModel,
    data: str | Path | Mapping[str, str | Path],
    *,
    stride: int = 0,
    windows: int = 0,
    device: str = "auto",
) -> Evaluation:
    """The scores of a run's model on token shards, those of the row `total` of `model eval`.

    `data` is a folder of TOKENS shards, or several by name. In the folder that the run was trained on, only held-out
    documents are scored; in any other, all. Each token is scored once. `stride` is the number of tokens from one window
    to the next (0: the context): with a smaller one, tokens have more context, and the scores take longer. `windows`
    (0: all) is the most windows of a folder that are scored.

    The answer has `loss` (nats a token), `perplexity`, `bits_per_byte` (None without a tokenizer), `tokens` and
    `bytes`.

    Raises FileNotFoundError if there is no such run or folder; ValueError, naming the folder, for shards of another
    tokenizer, and for a stride above the context.

    >>> import tempfile
    >>> import bpe
    >>> from model import evaluate_model, pretrain, write_tokens
    >>> texts = [f"{n} sheep and {n + 1} goats are {2 * n + 1} animals." for n in range(200)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tokens = write_tokens(texts, bpe.train_tokenizer(texts, 300), folder)
    ...     _ = pretrain(tokens, f"{folder}/run", steps=4, context=32, batch_tokens=128, layers=1, device="cpu")
    ...     scores = evaluate_model(f"{folder}/run", tokens, device="cpu")
    >>> scores.loss > 0, scores.bits_per_byte > 0
    (True, True)
    """
    folders = data if isinstance(data, Mapping) else {arguments.path("data", data): data}
    named = [(name, Path(arguments.path("data", folder))) for name, folder in folders.items()]
    if not named:
        raise ValueError("data is empty: name a folder of token shards at least")
    stride, windows = arguments.whole_number("stride", stride, 0), arguments.whole_number("windows", windows, 0)
    loaded = _loaded(run, device)
    if loaded.run is None:
        raise ValueError("run: a model that is in no run directory; score texts with score_text")
    codec = None if loaded.tokenizer is None else loaded.codec
    _, total = evaluate_data(loaded.gpt, loaded.state, loaded.run, codec, named, False, stride, windows)
    return total.scores


def score_text(run: AnyModel, text: str, *, stride: int = 0, device: str = "auto") -> Evaluation:
    """The scores of a model on one text: `evaluate_model` for a text in memory, which begins a document.

    Raises TypeError if `text` is no string; ValueError for a text without characters, for a run without a tokenizer and
    for a stride above the context.

    >>> import bpe
    >>> from model import GPT, LoadedModel, ModelConfig, score_text
    >>> tokenizer = bpe.train_tokenizer(["low lower lowest"], 270)
    >>> shape = ModelConfig(270, context=16, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)
    >>> model = LoadedModel(GPT(shape), tokenizer)
    >>> scores = score_text(model, "lower and lower")
    >>> scores.bytes, 4 < scores.loss < 8
    (15, True)
    """
    text, stride = arguments.string("text", text), arguments.whole_number("stride", stride, 0)
    loaded = _loaded(run, device)
    codec, gpt = loaded.codec, loaded.gpt
    scoring = Scoring(
        end_of_text=codec.vocabulary.end_of_text,
        micro_batch=max(1, micro_batch_tokens(gpt.embedding.weight.device, gpt.config) // gpt.config.context),
        byte_lengths_V=codec.byte_lengths,
        stride=stride,
    )
    return evaluate(gpt, np.array(codec.encode(text), np.int64), scoring)


# --- Hugging Face ------------------------------------------------------------------------------------------


def export_model(run: AnyModel, output: str | Path, *, dtype: str = "float32") -> list[Path]:
    """Write a model and its tokenizer for Hugging Face's transformers, as `model export` does.

    `AutoModelForCausalLM.from_pretrained(output)` reads the folder. `dtype` of the weights is "float32" or "bfloat16".
    Returns the paths of the files. Raises ValueError, before anything is written, for another dtype and for a shape for
    which transformers has no class, and if `output` is the run.

    >>> import tempfile
    >>> import bpe
    >>> from model import GPT, LoadedModel, ModelConfig, export_model
    >>> tokenizer = bpe.train_tokenizer(["low lower lowest"], 270)
    >>> shape = ModelConfig(270, context=16, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)
    >>> model = LoadedModel(GPT(shape), tokenizer)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in export_model(model, folder)][:2]
    ['model.safetensors', 'config.json']
    """
    arguments.one_of("dtype", dtype, DTYPES)
    output = arguments.path("output", output)
    loaded = run if isinstance(run, LoadedModel) else load_model(run, device="cpu")
    if loaded.run is not None:
        arguments.check_apart([loaded.run], output)
    codec = None if loaded.tokenizer is None else loaded.codec
    if loaded.run is None:
        end_of_text = None if codec is None else codec.vocabulary.end_of_text
    else:
        end_of_text = loaded.state["data"]["end_of_text"]
    return export(loaded.gpt, Path(output), end_of_text, codec, dtype)


def import_model(
    folder: str | Path, output: str | Path, *, context: int | None = None, with_tokenizer: bool = True
) -> Imported:
    """Make a run of a Hugging Face model, as `model import` does: to sample from, to score, or to train further.

    `folder` holds config.json and safetensors files of a Qwen3, Llama or GPT-2 model; `output` is the run directory to
    make. `context` (tokens) may be shorter than the model's own. `with_tokenizer` imports tokenizer.json if there is
    one. The answer has `architecture`, `parameters`, `context` and the hash of the `tokenizer`.

    Raises FileNotFoundError for a file that is missing; ValueError, naming file and field, tensor or token, for
    something that cannot be read or that our model does not compute, and if `output` is `folder` or holds a run.

    >>> import tempfile
    >>> import bpe
    >>> from model import GPT, LoadedModel, ModelConfig, export_model, import_model
    >>> tokenizer = bpe.train_tokenizer(["low lower lowest"], 270)
    >>> shape = ModelConfig(270, context=16, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)
    >>> model = LoadedModel(GPT(shape), tokenizer)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = export_model(model, f"{folder}/hf")
    ...     import_model(f"{folder}/hf", f"{folder}/run").architecture
    'Qwen3ForCausalLM'
    """
    folder, output = arguments.path("folder", folder), arguments.path("output", output)
    context = None if context is None else arguments.whole_number("context", context, 1)
    arguments.check_apart([folder], output)
    with arguments.without_flags():
        return import_folder(Path(folder), Path(output), context, with_tokenizer)
