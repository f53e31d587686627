"""fastText's training in a process of its own: the same examples and settings give the same model.

With each thread that it trains with, fastText 0.9.3 fills only a tenth of the weights of words. With one thread, nine
tenths of the weights are whatever the memory held before. That is zeros if the system has just handed the memory out
(always beyond 32 MiB). Otherwise it is remains of numbers and addresses, and training ends with "Encountered NaN" or
gives another model each time. glibc fills the memory that it hands out with the complement of MALLOC_PERTURB_, if that
variable is set before the process starts: with 255, the weights that fastText leaves out are zeros. So a seed and one
thread give one model.

`fit` starts this file as a script. The script's argument is JSON: the arguments of `fasttext.train_supervised`, and
`output`, the file to write.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def fit(settings: dict[str, Any], lr: float) -> None:
    """Train with these arguments of fastText and write `settings["output"]`. Raises ValueError if training fails."""
    done = subprocess.run(
        # -P: the files beside the script are no libraries.
        [sys.executable, "-P", __file__, json.dumps(settings)],
        env=os.environ | {"MALLOC_PERTURB_": "255"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        hint = f"; lr = {lr}: a smaller one may help" if "NaN" in reason[0] else ""
        raise ValueError(f"fastText does not train: {reason[0]}{hint}")


def _train() -> None:
    import fasttext

    settings = json.loads(sys.argv[1])
    output = settings.pop("output")
    try:
        fasttext.train_supervised(**settings, verbose=0).save_model(output)
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _train()
