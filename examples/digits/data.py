"""Handwritten digits: scikit-learn's load_digits, 1,797 images of 8x8 pixels, a fifth of each class for testing."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

REPRESENTATIVE_SAMPLES = 200


def load() -> dict[str, object]:
    """Images as they come, uint8 [samples, 8, 8, 1] in 0..16, and classes 0..9; the recipe's `input` normalises."""
    digits = load_digits()
    images = digits.images[..., np.newaxis].astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=0.2, stratify=digits.target, random_state=1
    )
    return {
        "train": (x_train, y_train),
        "test": (x_test, y_test),
        "representative": x_train[:REPRESENTATIVE_SAMPLES],
    }
