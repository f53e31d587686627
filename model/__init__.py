"""Pretraining of a small Transformer on TOKENS shards, and the use of what comes out.

    import bpe, model

    tokens = model.write_tokens(texts, bpe.train_tokenizer(texts, 1024), "work")  # or `corpus tokenize`
    model.pretrain(tokens, "work/run", preset="tiny", log=print)
    print(model.generate("work/run", "Once upon a time"))

`PRESETS` are the named settings, each with a line about itself; `from_preset` shows all settings of one:

    >>> import model
    >>> list(model.PRESETS)[:3]
    ['tiny', 'nano', '124m']
    >>> model.PRESETS["nano"].summary
    '6 x 384, context 512: an hour on a CPU, minutes on a GPU'

`import model` imports nothing more; each name is imported when it is used. The modules by subject:

    settings      config (the dataclasses), presets (named settings)
    model         gpt, attention, swiglu (CUDA), loss, loss_kernel (CUDA), loss_fp8 (CUDA)
    data          stream (shards to ids), data (ids to batches), permutation (their order), prefetch
    training      train (start here), optim, adamw, muon, guard (bad updates), parallel, device, stop, meter, track
    run on disk   launch (a request becomes a run), checkpoint, resume, initial (weights of another run), tokenizer
    use           sample, decode (KV cache), draw, prompt; evaluate, choices; hf, hf_shapes (Hugging Face)
    from Python   learning (write_tokens, pretrain), using (load_model, generate, ...)
    plot          history (metrics of a run), chart, plot (the page), table (text)
    commands/     the `model` command
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.config import ModelConfig, RunOptions, TrainConfig
    from model.gpt import GPT
    from model.learning import pretrain, write_tokens
    from model.presets import PRESETS, from_preset
    from model.using import (
        LoadedModel,
        evaluate_model,
        export_model,
        generate,
        generate_many,
        generate_stream,
        import_model,
        load_model,
        score_text,
    )

__all__ = [
    "GPT",
    "PRESETS",
    "LoadedModel",
    "ModelConfig",
    "RunOptions",
    "TrainConfig",
    "evaluate_model",
    "export_model",
    "from_preset",
    "generate",
    "generate_many",
    "generate_stream",
    "import_model",
    "load_model",
    "pretrain",
    "score_text",
    "write_tokens",
]

# The module of each name; of all others it is model.using. No name is that of a module: an imported module would hide
# it.
_MODULES = {
    "GPT": "model.gpt",
    "PRESETS": "model.presets",
    "ModelConfig": "model.config",
    "RunOptions": "model.config",
    "TrainConfig": "model.config",
    "from_preset": "model.presets",
    "pretrain": "model.learning",
    "write_tokens": "model.learning",
}


if not TYPE_CHECKING:  # a type checker should know the names above and no others

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'model' has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_MODULES.get(name, "model.using")), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
