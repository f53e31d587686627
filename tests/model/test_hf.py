"""transformers computes our logits from our exports, and our model computes its logits from its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import load_model
from model.config import ModelConfig
from model.gpt import GPT
from model.hf import export, import_folder
from model.presets import from_preset
from model.sample import Sampling, generate
from tests.oracles import model_qwen3
from tests.support.model_peers import GPT2, SHAPES, random_ids, random_model, saved_by_transformers, transformers_model
from tests.support.model_shards import END_OF_TEXT, VOCAB, small_model

CLASSES = {"qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel"}


@torch.no_grad()
def assert_same_logits(ours: GPT, theirs: Any, ids_BT: torch.Tensor) -> None:
    ours_BTV, theirs_BTV = ours.logits(ids_BT), theirs(ids_BT).logits
    assert theirs_BTV.shape == ours_BTV.shape
    assert float(ours_BTV.std()) > 0.1  # the logits are not all alike
    torch.testing.assert_close(ours_BTV, theirs_BTV, atol=1e-4, rtol=0)


# --- export ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", SHAPES)
def test_transformers_computes_the_same_logits(tmp_path: Path, name: str, attention: str) -> None:
    gpt = random_model(small_model(**SHAPES[name]))
    export(gpt, tmp_path, END_OF_TEXT, tokenizer=None)
    theirs = transformers_model(tmp_path, attn_implementation=attention)
    assert type(theirs).__name__ == CLASSES[name.partition("-")[0]]
    assert theirs.dtype == torch.float32
    assert_same_logits(gpt, theirs, random_ids(gpt.config.vocab_size, 3, 16))


@pytest.mark.parametrize("preset", ["gpt2-124m", "124m"])
def test_transformers_computes_the_same_logits_at_full_size(tmp_path: Path, preset: str) -> None:
    config, _ = from_preset(preset, 50_257)
    gpt = random_model(config, noise=0.01)
    export(gpt, tmp_path, 50_256, tokenizer=None)
    assert_same_logits(gpt, transformers_model(tmp_path), random_ids(50_257, 2, 64))


@pytest.mark.parametrize("name", SHAPES)
def test_transformers_writes_the_same_text_with_its_cache(tmp_path: Path, name: str) -> None:
    gpt = random_model(small_model(**SHAPES[name]), noise=0.3)
    export(gpt, tmp_path, END_OF_TEXT, tokenizer=None)
    prompt = [5, 6, 7]
    [sample] = generate(gpt, prompt, END_OF_TEXT, Sampling(max_tokens=12, temperature=0))
    ids_BT = torch.tensor([[END_OF_TEXT, *prompt]])
    mask_BT, most = torch.ones_like(ids_BT), {"max_new_tokens": 12, "do_sample": False}
    theirs = transformers_model(tmp_path).generate(ids_BT, attention_mask=mask_BT, pad_token_id=END_OF_TEXT, **most)
    assert theirs[0, 4:].tolist() == sample.tokens + [END_OF_TEXT] * sample.ended
    assert len(set(sample.tokens)) > 2


def test_exported_weights_are_qwen3_by_its_names(tmp_path: Path) -> None:
    """The export is read by a forward pass in the tests, which does not depend on the version of transformers."""
    gpt = random_model(small_model())
    written = export(gpt, tmp_path, END_OF_TEXT, tokenizer=None)
    assert {path.name for path in written} == {"config.json", "generation_config.json", "model.safetensors"}
    config = json.loads((tmp_path / "config.json").read_text())
    weights = {name: tensor.double().numpy() for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    assert weights["model.embed_tokens.weight"].shape == (config["vocab_size"], config["hidden_size"])
    ids_T = random_ids(VOCAB, 12)
    with torch.no_grad():
        ours = gpt.logits(ids_T[None])[0].numpy()
    np.testing.assert_allclose(ours, model_qwen3.logits(weights, config, ids_T.tolist()), atol=1e-4, rtol=1e-5)


def test_bfloat16_is_half_the_bytes_of_the_rounded_weights(tmp_path: Path) -> None:
    gpt = random_model(small_model())
    sizes = {}
    for dtype in ("float32", "bfloat16"):
        export(gpt, tmp_path / dtype, END_OF_TEXT, None, dtype)
        sizes[dtype] = (tmp_path / dtype / "model.safetensors").stat().st_size
    assert sizes["bfloat16"] < 0.6 * sizes["float32"]
    theirs = transformers_model(tmp_path / "bfloat16")
    assert theirs.dtype == torch.bfloat16
    assert torch.equal(theirs.model.embed_tokens.weight, gpt.embedding.weight[:VOCAB].bfloat16())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"window": 1}, "window = 1"),
        ({"activation": "relu2"}, "activation = relu2"),
        ({"activation": "gelu"}, "activation = gelu"),
        ({"soft_cap": 15.0}, "soft_cap = 15.0"),
        ({"bias": True}, "bias = True"),
        ({"norm": "layer"}, "norm = layer"),
        ({"positions": "learned"}, "positions = learned"),
        ({"qk_norm": False, "heads": 6, "kv_heads": 3}, "qk_norm = False"),  # Llama has no such shape either
        ({"qk_norm": False, "bias": True, "window": 4}, "window = 4"),
        ({**GPT2, "kv_heads": 2}, "kv_heads = 2"),
        ({**GPT2, "head_dim": 8}, "head_dim = 8"),
        ({**GPT2, "bias": False}, "bias = False"),
        ({**GPT2, "window": 4}, "window = 4"),
        ({**GPT2, "soft_cap": 30.0}, "soft_cap = 30.0"),
    ],
)
def test_what_no_class_has_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}: no class .* shapes of Qwen3 .*; Llama .*; GPT-2 ") as caught:
        export(GPT(small_model(**changes)), tmp_path / "out", END_OF_TEXT, None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_window_that_no_layer_has_is_none(tmp_path: Path) -> None:
    export(GPT(small_model(qk_norm=False, window=16)), tmp_path, END_OF_TEXT, None)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "llama"


# --- import ------------------------------------------------------------------------------------------------


SLIDING = {"use_sliding_window": True, "sliding_window": 4}


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Qwen3", {}),
        ("Qwen3", {"tie_word_embeddings": True, "rms_norm_eps": 1e-5}),
        ("Qwen3", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
        ("Qwen3", {**SLIDING, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}),
        ("Qwen3", {**SLIDING, "max_window_layers": 3}),  # windows begin at the fourth layer, and there are three
        ("Llama", {}),
        ("Llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
        ("GPT2", {}),
        ("GPT2", {"n_inner": 100, "tie_word_embeddings": False, "activation_function": "gelu_pytorch_tanh"}),
    ],
)
@pytest.mark.parametrize("shard", ["5GB", "100KB"])
def test_we_compute_what_transformers_does(tmp_path: Path, kind: str, settings: dict[str, Any], shard: str) -> None:
    theirs = saved_by_transformers(tmp_path / "hf", kind, shard, **settings)
    assert ((tmp_path / "hf/model.safetensors.index.json").exists()) == (shard == "100KB")
    import_folder(tmp_path / "hf", tmp_path / "run")
    ours, state = load_model(tmp_path / "run", torch.device("cpu"), print)
    assert (state["step"], state["train"]) == (0, None)
    assert state["data"] == {"fingerprint": None, "tokenizer_hash": None, "end_of_text": END_OF_TEXT}
    assert_same_logits(ours, theirs, random_ids(VOCAB, 3, 16))


@pytest.mark.parametrize("name", SHAPES)
def test_export_and_import_give_the_same_bits(tmp_path: Path, name: str) -> None:
    gpt = random_model(small_model(**SHAPES[name]))
    export(gpt, tmp_path / "hf", END_OF_TEXT, None)
    import_folder(tmp_path / "hf", tmp_path / "run")
    back, _ = load_model(tmp_path / "run", torch.device("cpu"), print)
    assert back.config == gpt.config
    theirs = dict(back.named_parameters())
    for weight_name, ours in gpt.named_parameters():
        rows = gpt.config.vocab_size if weight_name in ("embedding.weight", "lm_head.weight") else len(ours)
        assert torch.equal(ours[:rows], theirs[weight_name][:rows])
        assert not theirs[weight_name][rows:].any()  # padding


@pytest.mark.parametrize("kind", ["Qwen3", "GPT2"])
def test_context_may_be_cut(tmp_path: Path, kind: str) -> None:
    theirs = saved_by_transformers(tmp_path / "hf", kind)
    assert import_folder(tmp_path / "hf", tmp_path / "run", context=8).context == 8
    ours, _ = load_model(tmp_path / "run", torch.device("cpu"), print)
    assert ours.config.context == 8
    assert_same_logits(ours, theirs, random_ids(VOCAB, 3, 8))
    with pytest.raises(ValueError, match="context = 17: should be between 1 and the model's own, 16"):
        import_folder(tmp_path / "hf", tmp_path / "other", context=17)


def test_gpt2s_own_files_name_tensors_without_a_prefix(tmp_path: Path) -> None:
    theirs = saved_by_transformers(tmp_path, "GPT2")
    weights = {name.removeprefix("transformer."): w for name, w in load_file(tmp_path / "model.safetensors").items()}
    weights |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 16, 16).tril() for layer in range(2)}
    weights["lm_head.weight"] = weights["wte.weight"].clone()
    save_file(weights, tmp_path / "model.safetensors")
    import_folder(tmp_path, tmp_path / "run")
    assert_same_logits(load_model(tmp_path / "run", torch.device("cpu"), print)[0], theirs, random_ids(VOCAB, 3, 16))


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not ...}))


@pytest.mark.parametrize(
    ("kind", "settings", "changes"),
    [
        (
            "Qwen3",
            {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
            {"rope_parameters": ..., "rope_theta": 1_000_000, "rope_scaling": None, "sliding_window": None},
        ),
        ("Llama", {"num_key_value_heads": 4}, dict.fromkeys(("num_key_value_heads", "head_dim", "mlp_bias"), ...)),
        ("GPT2", {}, {"n_inner": ..., "tie_word_embeddings": ..., "n_ctx": 16, "scale_attn_weights": ...}),
    ],
)
def test_settings_may_be_as_older_versions_wrote_them(
    tmp_path: Path, kind: str, settings: dict[str, Any], changes: dict[str, Any]
) -> None:
    theirs = saved_by_transformers(tmp_path / "hf", kind, **settings)
    change_config(tmp_path / "hf", **changes)
    import_folder(tmp_path / "hf", tmp_path / "run")
    assert_same_logits(load_model(tmp_path / "run", torch.device("cpu"), print)[0], theirs, random_ids(VOCAB, 3, 16))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("Qwen3", {"architectures": ["MistralForCausalLM"]}, "architecture MistralForCausalLM cannot be read, only Qw"),
        ("Qwen3", {"architectures": ...}, "architecture None cannot be read, only Qwen3ForCausalLM, LlamaFor"),
        ("Qwen3", {"hidden_act": "gelu"}, "hidden_act = 'gelu': only 'silu' can be read"),
        ("Qwen3", {"attention_bias": True}, "attention_bias = True: only False can be read"),
        ("Qwen3", {"hidden_size": ...}, "hidden_size = None: should be a whole number above 0"),
        ("Qwen3", {"num_hidden_layers": "three"}, "num_hidden_layers = 'three': should be a whole number"),
        ("Qwen3", {"num_key_value_heads": 3}, "kv_heads = 3: should divide heads = 4"),
        ("Qwen3", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type = 'yarn': only 'default'"),
        ("Qwen3", {"rope_parameters": 7}, "config.json: "),
        ("Qwen3", {**SLIDING, "layer_types": ["sliding_attention"] * 3}, "layer_types: every n-th layer"),
        ("Qwen3", {"quantization_config": {"bits": 4}}, "its weights are quantized"),
        ("Qwen3", {"intermediate_size": 97}, r"gate_proj.weight has shape \[96, 64\], config.json asks for \[97, 64\]"),
        ("Qwen3", {"num_hidden_layers": 4}, "holds no tensor model.layers.3.input_layernorm.weight"),
        ("Qwen3", {"num_hidden_layers": 2}, "holds model.layers.2.input_layernorm.weight, which Qwen3ForCausalLM of"),
        ("Qwen3", {"tie_word_embeddings": True}, "lm_head.weight is not the embedding"),
        ("Llama", {"attention_bias": True}, "mlp_bias = False: only True can be read"),
        ("Llama", {"rope_scaling": {"type": "linear"}, "rope_parameters": ...}, "rope_type = 'linear'"),
        ("GPT2", {"activation_function": "relu"}, "activation_function = 'relu': only 'gelu_new' can be read"),
        ("GPT2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True: only False"),
        ("GPT2", {"n_inner": 128}, r"c_fc.weight has shape \[64, 256\], config.json asks for \[64, 128\]"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    tmp_path: Path, kind: str, changes: dict[str, Any], message: str
) -> None:
    saved_by_transformers(tmp_path / "hf", kind)
    change_config(tmp_path / "hf", **changes)
    with pytest.raises(ValueError, match=message) as caught:
        import_folder(tmp_path / "hf", tmp_path / "run")
    assert str(caught.value).startswith(str(tmp_path / "hf"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_shapes_are_compared_before_memory_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(config: ModelConfig) -> GPT:
        assert torch.empty(0).is_meta
        return GPT(config)

    export(GPT(small_model()), tmp_path / "hf", None, None)
    monkeypatch.setattr("model.hf.GPT", without_memory)
    for changes, message in (
        ({"hidden_size": 4096}, "has shape .*, config.json asks for .*4096"),
        ({"vocab_size": 10**6}, "has shape .*, config.json asks for .1000000"),
        ({"num_hidden_layers": 10_000}, "tensors, and config.json asks for 10000 layers"),
    ):
        original = (tmp_path / "hf/config.json").read_bytes()
        change_config(tmp_path / "hf", **changes)
        with pytest.raises(ValueError, match=message):
            import_folder(tmp_path / "hf", tmp_path / "run")
        (tmp_path / "hf/config.json").write_bytes(original)


def test_files_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    saved_by_transformers(tmp_path / "one", "Qwen3")
    saved_by_transformers(tmp_path / "many", "Qwen3", "100KB")

    def refused(folder: str, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            import_folder(tmp_path / folder, tmp_path / "run")

    refused("none", FileNotFoundError, "none/config.json: no such file; give a folder of config.json and model.safe")
    shards = sorted((tmp_path / "many").glob("*.safetensors"))
    shards[0].write_bytes(shards[0].read_bytes()[:1000])
    refused("many", ValueError, f"{shards[0].name} is damaged")
    shards[0].unlink()
    refused("many", FileNotFoundError, f"{shards[0].name}: no such file, though model.safetensors.index.json names it")
    (tmp_path / "many/model.safetensors.index.json").write_text("{}")
    refused("many", ValueError, "index.json: damaged")
    (tmp_path / "one/model.safetensors").write_bytes(b"nothing of the kind")
    refused("one", ValueError, "model.safetensors: damaged")
    (tmp_path / "one/model.safetensors").unlink()
    refused("one", FileNotFoundError, "model.safetensors: no such file; weights are read from safetensors files only")
    (tmp_path / "one/config.json").write_text("{")
    refused("one", ValueError, "config.json: damaged")
    (tmp_path / "one/config.json").write_text("[]")
    refused("one", ValueError, "config.json: should be a JSON object, not a list")
