"""Train a fastText model, as a process of its own: `MALLOC_PERTURB_=255 python classify_fit.py SETTINGS`.

fastText 0.9.3 fills only the first tenth of the weights of words for each thread that it trains with, so that with one
thread nine tenths are whatever the memory held before: zeros, if the system has just handed it out (always beyond 32
MiB), else remains of numbers and addresses, and then training ends with "Encountered NaN" or gives another model each
time. glibc fills what it hands out with the complement of MALLOC_PERTURB_, for which that has to be set before the
process starts. So the weights that fastText leaves out are zeros, and a seed and one thread give one model.

SETTINGS is JSON: the arguments of `fasttext.train_supervised`, and `output`, the file to write.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    import fasttext

    settings = json.loads(sys.argv[1])
    output = settings.pop("output")
    try:
        fasttext.train_supervised(**settings, verbose=0).save_model(output)
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
