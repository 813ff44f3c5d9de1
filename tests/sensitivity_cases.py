"""Networks with one layer that int8 hurts, in one process, which loads TensorFlow; tests/test_sensitivity.py.

python sensitivity_cases.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tf_keras
from tf_keras import layers

from pipeline import sensitivity

RANDOM = np.random.default_rng(1)
X = RANDOM.uniform(0, 1, (96, 6, 6, 2)).astype(np.float32)


def network() -> Any:
    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, name="first")(image)
    x = layers.ReLU(name="first_relu")(layers.BatchNormalization(name="first_bn")(x))
    y = layers.Conv2D(4, 1, name="second")(x)
    x = layers.ReLU(name="add_relu")(layers.Add(name="add")([x, y]))
    x = layers.Flatten(name="flatten")(layers.MaxPooling2D(name="pool")(x))
    return tf_keras.Model(image, layers.Dense(3, name="scores")(x))


def branched() -> Any:
    model = network()
    bright = layers.Conv2D(4, 3, name="bright", activation="relu")
    total = layers.Add(name="total")([model.get_layer("add_relu").output, bright(model.input)])
    bright.set_weights([np.full(bright.kernel.shape, 0.1, np.float32), np.full(4, -1.81, np.float32)])  # 18 inputs
    return tf_keras.Model(model.input, layers.Dense(3, name="scores")(layers.Flatten()(total)))


def main(folder: Path) -> None:
    results: dict[str, Any] = {}

    def analysed(
        name: str, model: Any, activations: str = "int8", representative: Any = X[:40], quantizers: Any = ()
    ) -> None:
        classes = model(X, training=False).numpy().argmax(axis=1)
        before = [w.tolist() for w in model.get_weights()]
        results[name] = sensitivity.analyse(model, representative, X, classes, activations, quantizers)
        results[name]["restored"] = before == [w.tolist() for w in model.get_weights()]

    analysed("plain", network())
    for activations in ("int8", "int16"):
        analysed(f"nothing clipped, {activations}", network(), activations, X)

    def weights(
        *layers: str, bits: int = 8, per_channel: bool | None = None, narrow_range: bool = True
    ) -> dict[str, Any]:
        asked = {"bits": bits, "per_channel": per_channel, "narrow_range": narrow_range}
        return {"layers": layers, "weights": asked}

    ranges_only = {"layers": ["*"], "weights": None}
    exception = [weights("*", bits=4), weights("second", "Dense"), ranges_only]
    analysed("4 bits but in two layers", network(), quantizers=exception)

    # The normalization makes the first channel a thousand times as large as the others; the next layer takes these.
    model = network()
    gamma, *others = model.get_layer("first_bn").get_weights()
    gamma[0] = 1000
    model.get_layer("first_bn").set_weights([gamma, *others])
    kernel, bias = model.get_layer("second").get_weights()
    kernel[:, :, 0, :] = 0
    model.get_layer("second").set_weights([kernel, bias])
    scores, bias = model.get_layer("scores").get_weights()
    scores[0::4] = 0
    model.get_layer("scores").set_weights([scores, bias])
    for per_channel in (True, False):
        one = [weights("first", per_channel=per_channel)]
        analysed(f"a loud channel, per_channel={per_channel}", model, quantizers=one)

    # Weights of the second convolution that a dead channel reads: useless, and so large that the others lose digits.
    model = network()
    kernel, bias = model.get_layer("first").get_weights()
    bias[0] = -100
    model.get_layer("first").set_weights([kernel, bias])
    kernel, bias = model.get_layer("second").get_weights()
    kernel[0, 0, 0, :] = 200
    model.get_layer("second").set_weights([kernel, bias])
    analysed("wide weights", model)
    analysed("wide weights, int16", model, "int16")

    # A channel of the first convolution that is a thousand times as large as others, and is thrown away by the next.
    model = network()
    kernel, bias = model.get_layer("first").get_weights()
    kernel[..., 0] = np.abs(kernel[..., 0]) * 1000
    model.get_layer("first").set_weights([kernel, bias])
    kernel, bias = model.get_layer("second").get_weights()
    kernel[:, :, 0, :] = 0
    model.get_layer("second").set_weights([kernel, bias])
    scores, bias = model.get_layer("scores").get_weights()
    scores[0::4] = 0
    model.get_layer("scores").set_weights([scores, bias])
    analysed("wide output", model)
    analysed("wide output, int16", model, "int16")

    model = network()
    before = [w.tolist() for w in model.get_weights()]
    found = sensitivity.ranges(model, X[:40], np.concatenate([X[:40], 3 * X[40:]]))
    results["bright test set"] = {"layers": found, "restored": before == [w.tolist() for w in model.get_weights()]}
    one_sided = sensitivity.ranges(model, X[:40], np.concatenate([X[:40], 3 * X[40:]]), "int16")
    results["bright test set, int16"] = {"layers": one_sided, "restored": True}
    results["same"] = {"layers": sensitivity.ranges(model, X, X), "restored": True}

    # Two branches; one is for bright images alone, of which the representative data have none.
    model = branched()
    before = [w.tolist() for w in model.get_weights()]
    found = sensitivity.ranges(model, X[:40], np.concatenate([X[40:], 3 * X[40:]]))
    results["a branch"] = {"layers": found, "restored": before == [w.tolist() for w in model.get_weights()]}

    limit, sensitivity.BUDGET_MACS = sensitivity.BUDGET_MACS, 1e4
    analysed("too large", network())
    sensitivity.BUDGET_MACS = limit
    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
