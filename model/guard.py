"""Which updates may reach the weights: a loss or gradient that is not finite is skipped and counted.

A few such batches are harmless when left out (OLMo's and PaLM's runs skip them as well); ten in a row mean
that the run itself has diverged, and carrying on would only burn time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LONGEST_STREAK = 10


@dataclass
class Guard:
    """Counts skipped updates; both counts are part of a checkpoint."""

    skipped: int = 0
    in_a_row: int = 0

    def admits(self, step: int, loss: float, grad_norm: float) -> bool:
        """True if the update is to be applied. Raises FloatingPointError at the tenth refusal in a row."""
        if math.isfinite(loss) and math.isfinite(grad_norm):
            self.in_a_row = 0
            return True
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= LONGEST_STREAK:
            raise FloatingPointError(
                f"step {step}: {self.in_a_row} updates in a row had a loss or gradient that is not finite; "
                "start again from an older checkpoint or with a lower --lr"
            )
        return False
