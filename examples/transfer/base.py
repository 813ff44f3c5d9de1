"""The pre-trained part: MobileNetV2 of width 0.35, trained on the digits 0 to 4 by `python pretrain.py`."""

from __future__ import annotations

import keras


def build() -> keras.Model:
    """Image [32, 32, 1] in -1..1 to 1,280 features."""
    return keras.applications.MobileNetV2((32, 32, 1), alpha=0.35, include_top=False, weights=None, pooling="avg")
