"""scikit-learn's handwritten digits: 0 to 4 to pre-train with, 5 to 9 as the new task, with fewer samples."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

TRAINING_SAMPLES = 400
REPRESENTATIVE_SAMPLES = 200


def pretraining() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [samples, 32, 32, 1] in 0..16 of the digits 0 to 4, and their classes."""
    x, y = _digits()
    return x[y < 5], y[y < 5]


def load() -> dict[str, object]:
    """The digits 5 to 9 as classes 0 to 4; all that are not among the 400 for training are for testing."""
    x, y = _digits()
    x, y = x[y >= 5], y[y >= 5] - 5
    x_train, x_test, y_train, y_test = train_test_split(x, y, train_size=TRAINING_SAMPLES, stratify=y, random_state=1)
    return {"train": (x_train, y_train), "test": (x_test, y_test), "representative": x_train[:REPRESENTATIVE_SAMPLES]}


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Images of 8x8 pixels, each pixel as 4x4 equal ones: MobileNetV2 halves an image five times."""
    digits = load_digits()
    images = digits.images.repeat(4, axis=1).repeat(4, axis=2)[..., np.newaxis]
    return images.astype(np.uint8), digits.target
