"""Training and sampling on a GPU, beside a plain loop and transformers, on the same card in the same run.

    python -m bench.pretrain_gpu [--parts 124m-50k,124m-100k,350m-50k,sample,text] [--text tokens/] [--json]

- Speed: whole updates of 524,288 synthetic tokens (forward, backward, clipping, AdamW) in bf16; tokens a second and
  MFU. The peer (`plain_loop`) is `bench/plain_gpt.py` with as many parameters, compiled, at the best of its
  micro-batches. `fp8` is ours with the output head in 8 bits.
- Sampling: tokens a second of 256 tokens after one prompt and after 32 prompts, with a KV cache, beside `generate` of
  transformers on the exported weights (`generate`).
- Text: ours, ours with the 8-bit head, and the peer train on the same English for the same number of tokens. `loss` is
  the peer's loss on its held-out documents / ours.

`--miniature` runs every part at a tiny size, also on a CPU: a test of the script, not a measurement. To fill the
compilers' caches for several parts at once, run each part with `--warm` in a process of its own, then all without.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.harness import data_folder, print_json, print_row, read_documents
from bench.plain_gpt import PlainGPT, our_update, plain_optimizer, plain_update
from model.config import ModelConfig, TrainConfig
from model.data import make_batches
from model.device import autocast, has_fp8, micro_batch_tokens, pick_device
from model.gpt import GPT, flops_per_token, parameter_count
from model.hf import export
from model.meter import Meter
from model.optim import learning_rate, make_optimizers, set_learning_rate
from model.presets import from_preset
from model.sample import Sampling, generate
from model.stream import Stream, open_stream

SPEEDS = {"124m-50k": ("124m", 50_257), "124m-100k": ("124m", 100_277), "350m-50k": ("350m", 50_257)}


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    update_tokens: int = 524_288
    plain_rows: tuple[int, ...] = (32, 64)  # of a forward pass of the peer: the best counts
    updates: int = 6  # timed, the median counts
    sample_tokens: int = 256
    text_tokens: int = 65_536  # an update
    text_updates: int = 100
    preset: str = ""  # instead of a part's
    vocabulary: int = 0  # likewise


MINIATURE = Size(1_024, (4,), 2, 8, 1_024, 3, "tiny", 512)


class Report:
    """What was measured, for the last line."""

    def __init__(self) -> None:
        self.ratios: dict[str, float] = {}
        self.ours: dict[str, float] = {}
        self.peers: dict[str, float] = {}

    def add(self, name: str, unit: str, ours: float, peer_name: str, peer: float, higher_is_better: bool) -> None:
        key = f"{name}.{peer_name}"
        self.ours[name], self.peers[key] = ours, peer
        self.ratios[key] = ours / peer if higher_is_better else peer / ours
        print_row(name, unit, ours, {peer_name: peer}, higher_is_better)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join([*SPEEDS, "sample", "text"]), help="by comma")
    parser.add_argument("--text", type=Path, help="TOKENS shards of English  [default: made of the test data's]")
    parser.add_argument("--plain-rows", help="sequences in a forward pass of the peer, by comma: the best counts")
    parser.add_argument("--updates", type=int, help="timed of each, the median counts")
    parser.add_argument("--miniature", action="store_true")
    parser.add_argument("--warm", action="store_true", help="one update of each and no report: fills compilers' caches")
    parser.add_argument("--profile", action="store_true", help="list the kernels of an update")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    device = pick_device("auto")
    if device.type != "cuda" and not options.miniature:
        sys.exit("no CUDA device: nothing to measure; --miniature runs the script on a CPU")
    torch.set_float32_matmul_precision("high")
    size, report = MINIATURE if options.miniature else Size(), Report()
    card = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{card}, PyTorch {torch.__version__}", flush=True)
    if options.plain_rows:
        size = dataclasses.replace(size, plain_rows=tuple(int(rows) for rows in options.plain_rows.split(",")))
    if options.updates:
        size = dataclasses.replace(size, updates=options.updates)
    for part in options.parts.split(","):
        if part == "sample":
            sampling(size, report, device)
        elif part == "text":
            text(size, report, device, options.text)
        else:
            speed(part, size, report, device, options)
        tidy()
    if options.json:
        print_json("pretrain_gpu", report.ratios, report.ours, report.peers)


# --- training speed ----------------------------------------------------------------------------------------


def speed(part: str, size: Size, report: Report, device: torch.device, options: Any) -> None:
    preset, vocabulary = SPEEDS[part.removesuffix("-plain").removesuffix("-ours")]
    config, training = from_preset(size.preset or preset, size.vocabulary or vocabulary)
    x_BT, y_BT = synthetic(config, size.update_tokens, device)

    def measured(update: Callable[[], object]) -> float:
        update()  # compiles
        if options.warm:
            return 1.0
        rate = size.update_tokens / median_seconds(update, size.updates, device)
        if options.profile:
            profile(update)
        return rate

    ours, peers = {}, {}
    if not part.endswith("-plain"):
        for name, update in our_updates(config, training, x_BT, y_BT, device):
            ours[name] = measured(update)
            if device.type == "cuda":
                used = Meter(1, flops_per_token(config), device).mfu(ours[name])
                peak = torch.cuda.max_memory_allocated() / 1e9
                mfu = f"mfu {used:.1%}, " if used else ""
                print(f"{part} {name}: {ours[name]:,.0f} tokens/s, {mfu}{peak:.1f} GB", flush=True)
    tidy()
    if not part.endswith("-ours"):
        for rows in size.plain_rows:
            peers[rows] = measured(plain_updates(config, training, x_BT, y_BT, rows, device))
            print(f"{part} plain, {rows} rows: {peers[rows]:,.0f} tokens/s", flush=True)
            tidy()
    if ours and peers and not options.warm:
        for name, rate in ours.items():
            report.add(f"{part}.{name}", "tokens/s", rate, "plain_loop", max(peers.values()), True)


def our_updates(
    config: ModelConfig, training: TrainConfig, x_BT: Tensor, y_BT: Tensor, device: torch.device
) -> Iterator[tuple[str, Callable[[], object]]]:
    """With the head in bf16, and where the device can in fp8."""
    model = GPT(config).to(device)
    print(f"ours: {parameter_count(model):,} parameters", flush=True)
    if device.type == "cuda":
        model.compile_trunk()
    optimizers = make_optimizers(model, training)
    rows = min(len(x_BT), micro_batch_tokens(device, config) // config.context)
    for fp8 in (False, True) if has_fp8(device) else (False,):

        def update(fp8: bool = fp8) -> None:
            model.fp8_head = fp8
            our_update(model, optimizers, x_BT, y_BT, rows, training.clip_norm)

        yield "fp8" if fp8 else "bf16", update


def plain_model(config: ModelConfig, device: torch.device) -> tuple[PlainGPT, Any]:
    """And what to call: on CUDA its compiled form."""
    heads = max(1, config.width // 64)
    model = PlainGPT(config.padded_vocab_size, config.context, config.layers, config.width, heads).to(device)
    return model, torch.compile(model) if device.type == "cuda" else model


def plain_updates(
    config: ModelConfig, training: TrainConfig, x_BT: Tensor, y_BT: Tensor, rows: int, device: torch.device
) -> Callable[[], object]:
    model, compiled = plain_model(config, device)
    print(f"plain: {parameter_count(model):,} parameters", flush=True)
    optimizer = plain_optimizer(model, training.lr)
    return lambda: plain_update(model, compiled, optimizer, x_BT, y_BT, rows)


def synthetic(config: ModelConfig, tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    shape = (tokens // config.context, config.context + 1)
    ids_BT = torch.from_numpy(np.random.default_rng(0).integers(0, config.vocab_size, shape)).to(device)
    return ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous()


def median_seconds(update: Callable[[], object], repeats: int, device: torch.device) -> float:
    update()
    seconds = []
    for _ in range(repeats):
        finish(device)
        start = time.perf_counter()
        update()
        finish(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def profile(update: Callable[[], object]) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as found:
        update()
        torch.cuda.synchronize()
    rows = sorted(found.key_averages(), key=lambda row: -row.self_device_time_total)
    print(f"device time {sum(row.self_device_time_total for row in rows) / 1e3:.0f} ms")
    for row in rows[:30]:
        print(f"{row.self_device_time_total / 1e3:8.1f} ms {row.count:5} {row.key[:100]}")


# --- sampling ----------------------------------------------------------------------------------------------


def sampling(size: Size, report: Report, device: torch.device) -> None:
    from transformers import AutoModelForCausalLM

    config, _ = from_preset(size.preset or "124m", size.vocabulary or 50_257)
    model = GPT(config).to(device)
    prompt = list(range(8))
    never = config.padded_vocab_size - 1  # an id of the padding: it may be seen, and is never drawn
    settings = Sampling(max_tokens=size.sample_tokens, temperature=0)
    with tempfile.TemporaryDirectory() as folder:
        export(model, Path(folder), None, None)
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device)
    ids_BT = torch.tensor([[0, *prompt]], device=device)
    for count in (1, 32):
        tokens = count * size.sample_tokens

        def ours(count: int = count) -> None:
            samples = generate(model, prompt, never, settings, count)
            assert all(len(sample.tokens) == size.sample_tokens for sample in samples)

        def peer(count: int = count) -> None:
            length = {"max_new_tokens": size.sample_tokens, "min_new_tokens": size.sample_tokens}
            batch_BT = ids_BT.expand(count, -1)
            theirs.generate(
                batch_BT, attention_mask=torch.ones_like(batch_BT), do_sample=False, pad_token_id=0, **length
            )

        rates = [tokens / median_seconds(call, 3, device) for call in (ours, peer)]
        report.add(f"sample.{count}", "tokens/s", rates[0], "generate", rates[1], True)


# --- text --------------------------------------------------------------------------------------------------


def text(size: Size, report: Report, device: torch.device, folder: Path | None) -> None:
    with tempfile.TemporaryDirectory() as made:
        stream = open_stream(folder or english(Path(made), size), Path(made))
    tokens = {"batch_tokens": size.text_tokens, "steps": size.text_updates, "warmup_steps": size.text_updates // 5}
    config, training = from_preset(size.preset or "124m", stream.vocab_size, training=tokens)
    losses = {"bf16": train_on(stream, config, training, device)}
    if has_fp8(device):
        losses["fp8"] = train_on(stream, config, training, device, fp8=True)
    plain = train_on(stream, config, training, device, plain=True)
    for name, loss in losses.items():
        report.add(f"text.{name}.loss", "nats a held-out token", loss, "plain_loop", plain, False)


def train_on(
    stream: Stream,
    config: ModelConfig,
    training: TrainConfig,
    device: torch.device,
    fp8: bool = False,
    plain: bool = False,
) -> float:
    """Train on the stream; the mean loss of its held-out documents, in nats a token."""
    torch.manual_seed(training.seed)
    batches = make_batches(stream, config.context, training.batch_tokens, training.seed)
    module: Any
    if plain:
        model, module = plain_model(config, device)
        optimizers: list[torch.optim.Optimizer] = [plain_optimizer(model, training.lr)]
    else:
        module = GPT(config, training.seed).to(device)
        module.fp8_head = fp8
        if device.type == "cuda":
            module.compile_trunk()
        optimizers = make_optimizers(module, training)
    rows = min(batches.batch_size, 64)

    def part(windows_N: Any) -> tuple[Tensor, Tensor]:
        x_BT, y_BT = (torch.from_numpy(ids.astype(np.int64)).to(device) for ids in windows_N)
        return x_BT, y_BT

    for step in range(training.steps):
        x_BT, y_BT = part(batches.batch(step))
        set_learning_rate(optimizers, learning_rate(step, training))
        if plain:
            plain_update(model, module, optimizers[0], x_BT, y_BT, rows)
        else:
            our_update(module, optimizers, x_BT, y_BT, rows, training.clip_norm)
    module.fp8_head = False  # scored alike
    total, windows_N = 0.0, np.arange(batches.validation_windows)
    with torch.no_grad(), autocast(device):
        for window in windows_N:
            total += float((model if plain else module)(*part(batches.held_out(window[None]))))
    tidy()
    return total / len(windows_N)


def english(folder: Path, size: Size) -> Path:
    """TOKENS shards of the test data's English (of Shakespeare alone for a miniature), with GPT-2's vocabulary."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bpe.encode import Encoder
    from bpe.files import load_vocabulary
    from corpus.schema import tokens_schema

    source, vocabulary = data_folder(), load_vocabulary(data_folder() / "tokenizers/gpt2.tiktoken")
    if size.preset:
        whole = (source / "text/tinyshakespeare.txt").read_text("utf-8")[:40_000]
        documents = [whole[start : start + 2_000] for start in range(0, len(whole), 2_000)]
    else:
        documents = [d for name in ("news_web", "gutenberg") for d in read_documents(source / f"text/en_{name}.txt.gz")]
    encoder = Encoder(vocabulary)
    ids = [encoder.encode(document).tolist() for document in documents]
    metadata = {
        "tokenizer_hash": vocabulary.hash,
        "vocab_size": str(vocabulary.size),
        "end_of_text": str(vocabulary.end_of_text),
        "token_total": str(sum(map(len, ids))),
    }
    schema = tokens_schema(vocabulary.size).with_metadata(metadata)
    columns = {"id": [f"document {number}" for number in range(len(ids))], "tokens": ids}
    (folder / "tokens").mkdir()
    pq.write_table(pa.table(columns, schema=schema), folder / "tokens/english.parquet")
    return folder / "tokens"


def tidy() -> None:
    """Give back the device's memory."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    torch.compiler.reset()


if __name__ == "__main__":
    main()
