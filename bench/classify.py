"""A classifier's scores beside fastText itself: `python -m bench.classify [--json]`.

`score`: texts to probabilities, one thread each, in CPU time, with a model of DCLM's settings (100 numbers a word,
2,000,000 buckets of pairs of words), trained on half of the near-duplicate documents of the test data; both must agree.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.decontaminate import cpu_seconds
from bench.harness import data_folder, print_json, print_row, ratios, utf8_bytes
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
        told = train_classifier(halves[0], halves[1], Path(name, "model.bin"), Config(epochs=2))
        model = load_model(Path(name, "model.bin"), "")
    linear = multiply_out(model)
    assert linear is not None
    batches = [pa.array(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    ours = np.concatenate([probabilities(batch, linear) for batch in batches])
    answers = [{label: value for value, label in predict(model, text, ALL)} for text in texts]
    theirs = np.array([[answer[label] for label in linear.labels] for answer in answers])
    print(f"{len(texts):,} documents; {told['held_out']['positive'] + told['held_out']['negative']} held out")
    if (difference := float(np.abs(ours - theirs).max())) > 1e-4:
        sys.exit(f"answers differ by {difference}")
    size = utf8_bytes(texts) / 1e6
    rate = size / cpu_seconds(lambda: [probabilities(batch, linear) for batch in batches], 7)
    rates = {"fasttext": size / cpu_seconds(lambda: [predict(model, text, ALL) for text in texts], 3)}
    print_row("score", "MB/s", rate, rates, higher_is_better=True)
    print(f"largest difference {difference:.2g}; {len(texts) / size * rate:,.0f} documents a second")
    if "--json" in sys.argv:
        print_json("classify", ratios(rate, rates, True), {"score": rate}, {"score": rates})


if __name__ == "__main__":
    main()
