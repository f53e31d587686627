"""Attention, RMS norm and RoPE written as their definitions, one number at a time, in double precision."""

from __future__ import annotations

import cmath
import math

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


def causal_attention(q_BHTD: F64, k_BKSD: F64, v_BKSD: F64, window: int = 0) -> F64:
    """Causal attention, (B, H, T, D). The T queries stand at the last T of the S positions.

    A query attends to the keys at and before its position, or to the last `window` of them if `window` is not 0.
    """
    B, H, T, D = q_BHTD.shape
    K, S = k_BKSD.shape[1:3]
    y_BHTD = np.zeros_like(q_BHTD)
    for b in range(B):
        for h in range(H):
            k = h // (H // K)  # the key head of query head h
            for t in range(T):
                end = S - T + t + 1
                first = max(0, end - window) if window else 0
                scores = [float(q_BHTD[b, h, t] @ k_BKSD[b, k, s]) / math.sqrt(D) for s in range(first, end)]
                highest = max(scores)
                weights = [math.exp(score - highest) for score in scores]
                for weight, s in zip(weights, range(first, end), strict=True):
                    y_BHTD[b, h, t] += weight / sum(weights) * v_BKSD[b, k, s]
    return y_BHTD


def rms_norm(x_ND: F64, weight_D: F64, eps: float) -> F64:
    """Each row divided by its root mean square, times the weights."""
    rows = []
    for row in x_ND:
        root = math.sqrt(sum(float(value) ** 2 for value in row) / len(row) + eps)
        rows.append([float(value) / root * float(weight) for value, weight in zip(row, weight_D, strict=True)])
    return np.array(rows)


def rope(x_TD: F64, theta: float) -> F64:
    """Channels i and i + D/2 as one complex number, turned by the angle position * theta**(-2i/D)."""
    T, D = x_TD.shape
    turned = np.zeros_like(x_TD)
    for t in range(T):
        for i in range(D // 2):
            point = complex(x_TD[t, i], x_TD[t, i + D // 2]) * cmath.exp(1j * t * theta ** (-2 * i / D))
            turned[t, i], turned[t, i + D // 2] = point.real, point.imag
    return turned
