"""`python -m bench.classify [--json]`: the scores of a classifier, beside fastText itself.

`score`: texts to probabilities, on one thread each, in processor time. The model has DCLM's settings (100 numbers for
each word, 2,000,000 buckets for pairs of words) and is trained on half of the near-duplicate documents of the test
data. Our probabilities must be fastText's, or the run fails.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.harness import data_folder, median_seconds, print_json, print_row, ratios, utf8_bytes
from corpus.classifier.linear import multiply_out, probabilities
from corpus.classifier.train import Config, train_classifier
from corpus.text.fasttext_model import ALL, load_model, predict

BATCH = 64


def main() -> None:
    table = pq.read_table(data_folder() / "neardup/docs.parquet", columns=["text", "source"])
    texts: list[str] = table["text"].to_pylist()
    with tempfile.TemporaryDirectory() as name:
        halves = []
        for half in (0, 1):
            path = Path(name, f"{half}.parquet")
            pq.write_table(pa.table({"text": texts[half:2000:2]}), path)
            halves.append([str(path)])
        trained = train_classifier(halves[0], halves[1], Path(name, "model.bin"), Config(epochs=2))
        model = load_model(Path(name, "model.bin"), "")
    linear = multiply_out(model)
    assert linear is not None
    batches = [pa.array(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    ours = np.concatenate([probabilities(batch, linear) for batch in batches])
    answers = [{label: value for value, label in predict(model, text, ALL)} for text in texts]
    theirs = np.array([[answer[label] for label in linear.labels] for answer in answers])
    print(f"{len(texts):,} documents; {trained['held_out']['positive'] + trained['held_out']['negative']} held out")
    if (difference := float(np.abs(ours - theirs).max())) > 1e-4:
        sys.exit(f"answers differ by {difference}")
    size = utf8_bytes(texts) / 1e6
    ours_seconds = median_seconds(lambda: [probabilities(batch, linear) for batch in batches], 7, 0, time.process_time)
    peer_seconds = median_seconds(lambda: [predict(model, text, ALL) for text in texts], 3, 0, time.process_time)
    rate, rates = size / ours_seconds, {"fasttext": size / peer_seconds}
    print_row("score", "MB/s", rate, rates, higher_is_better=True)
    print(f"largest difference {difference:.2g}; {len(texts) / size * rate:,.0f} documents a second")
    if "--json" in sys.argv:
        print_json("classify", ratios(rate, rates, True), {"score": rate}, {"score": rates})


if __name__ == "__main__":
    main()
