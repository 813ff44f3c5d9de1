"""Shoulder exercises, recorded by a smartwatch: seglearn's watch data, 10 people, 7 exercises, 50 samples a second."""

from __future__ import annotations

import numpy as np
from seglearn.datasets import load_watch

WINDOW = 128  # samples: 2.56 s
STEP = 64
TEST_SUBJECTS = (8, 9, 10)  # nobody is in both parts
REPRESENTATIVE_SAMPLES = 200


def load() -> dict[str, object]:
    """Windows float32 [windows, 128, 1, 6] of acceleration (g) and turning rate (rad/s), classes 0..6."""
    watch = load_watch()
    parts: dict[bool, list[tuple[np.ndarray, int]]] = {False: [], True: []}
    for recording, exercise, subject in zip(watch["X"], watch["y"], watch["subject"], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(recording, WINDOW, axis=0)[::STEP].transpose(0, 2, 1)
        parts[subject in TEST_SUBJECTS] += [(window, exercise) for window in windows]
    train, test = (
        (np.stack([w for w, _ in part])[:, :, np.newaxis].astype(np.float32), np.array([y for _, y in part], np.int64))
        for part in (parts[False], parts[True])
    )
    chosen = np.random.default_rng(1).choice(len(train[0]), REPRESENTATIVE_SAMPLES, replace=False)
    return {"train": train, "test": test, "representative": train[0][chosen]}
