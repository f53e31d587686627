"""Training beside Hugging Face's BpeTrainer: one thread, the same split rule, the merges compared.

    python -m bench.bpe_train [--json]

Text is read from the test data folder, ../shared/data beside the repository; CORPUS_TESTDATA points elsewhere. Both
take Python strings from memory and learn 32,768 tokens.
"""

from __future__ import annotations

import os
import sys

from bench import harness

SIZE = 32_768
TEXTS = ("en_gutenberg.txt.gz", "en_news_web.txt.gz")


def main(as_json: bool) -> None:
    os.environ["RAYON_NUM_THREADS"] = "1"  # before tokenizers is imported, which reads it once
    import tokenizers

    from bpe.export import hugging_face_letters
    from bpe.patterns import ONIGURUMA
    from bpe.train import train

    folder = harness.data_folder()
    documents = [document for name in TEXTS for document in harness.read_documents(folder / "text" / name)]
    pre = tokenizers.pre_tokenizers
    rule = pre.Split(tokenizers.Regex(ONIGURUMA["cl100k"]), "isolated")

    def theirs() -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = pre.Sequence([rule, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=SIZE, show_progress=False, special_tokens=[], initial_alphabet=pre.ByteLevel.alphabet()
        )
        tokenizer.train_from_iterator(documents, trainer)
        return tokenizer

    vocab = theirs().get_vocab()
    made = train(documents, SIZE, "cl100k", ())
    if [hugging_face_letters(token) for token in made.tokens] != sorted(vocab, key=vocab.__getitem__):
        sys.exit("the vocabularies differ")
    ours = harness.median_seconds(lambda: train(documents, SIZE, "cl100k", ()), 5)
    peer = harness.median_seconds(theirs, 3, warmup=0)
    megabytes = harness.utf8_bytes(documents) / 1e6
    harness.print_row(f"{megabytes:.1f} MB, {SIZE} tokens", "s", ours, {"tokenizers": peer}, False)
    if as_json:
        harness.print_json("bpe_train", {"tokenizers": peer / ours}, {"seconds": ours}, {"tokenizers": peer})


if __name__ == "__main__":
    main("--json" in sys.argv[1:])
