"""Pretraining of a small Transformer on TOKENS shards, and the use of what comes out.

The modules by subject:

    settings      config (the dataclasses), presets (named settings)
    model         gpt, attention, swiglu (CUDA), loss, loss_kernel (CUDA), loss_fp8 (CUDA)
    data          stream (shards to ids), data (ids to batches), permutation (their order), prefetch
    training      train (start here), optim, adamw, muon, guard (bad updates), parallel, device, stop, meter, track
    run on disk   checkpoint, resume, initial (weights of another run), tokenizer
    use           sample, decode (KV cache), draw, prompt; evaluate, choices; hf, hf_shapes (Hugging Face)
    plot          history (metrics of a run), chart, plot (the page), table (text)
    commands/     the `model` command
"""
