"""scikit-learn's handwritten digits: 0 to 4 to pre-train with, 5 to 9 as the new task, with few samples."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

TRAINING_SAMPLES = 200


def pretraining() -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [samples, 8, 8, 1] in 0..1 of the digits 0 to 4, and their classes."""
    x, y = _digits()
    return x[y < 5], y[y < 5]


def load() -> dict[str, object]:
    """The digits 5 to 9 as classes 0 to 4; all that are not among the 200 for training are for testing."""
    x, y = _digits()
    x, y = x[y >= 5], y[y >= 5] - 5
    x_train, x_test, y_train, y_test = train_test_split(x, y, train_size=TRAINING_SAMPLES, stratify=y, random_state=1)
    return {"train": (x_train, y_train), "test": (x_test, y_test), "representative": x_train}


def _digits() -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    return (digits.images[..., np.newaxis] / 16.0).astype(np.float32), digits.target
