"""A report as a run of the digits recipe makes it: a network of 14 ops, two emulated boards, all exact."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

CONFUSION_MISTAKES = {(8, 1): 2, (3, 8): 1, (9, 7): 1, (5, 9): 1}

# op, TFLite's tensor name, output shape, kernel, why, MACs, weight bytes, instructions
OPS: list[tuple[str, str, list[int], str, str, int, int, int | None]] = [
    ("QUANTIZE", "tfl.quantize", [1, 8, 8, 1], "quantize_f32_s8", "float at the graph's edge", 0, 0, 2_114),
    ("CONV_2D", "digits/stem/Relu;digits/stem/BiasAdd;digits/stem/Conv2D", [1, 8, 8, 16], "conv_2d_s8",
     "3x3, one input channel", 9_216, 208, 148_733),
    ("PAD", "digits/pad/Pad", [1, 10, 10, 16], "pad_s8", "constant paddings", 0, 0, 5_902),
    ("DEPTHWISE_CONV_2D", "digits/block_1/depthwise/Relu;digits/block_1/depthwise/BiasAdd", [1, 8, 8, 16],
     "depthwise_conv_2d_s8", "depth multiplier 1", 9_216, 208, 171_216),
    ("CONV_2D", "digits/block_1/pointwise/BiasAdd", [1, 8, 8, 24], "conv_2d_s8",
     "1x1, stride 1: no padding to look at", 24_576, 480, 301_447),
    ("CONV_2D", "digits/shortcut/BiasAdd", [1, 8, 8, 24], "conv_2d_s8", "1x1, stride 1: no padding to look at",
     24_576, 480, 301_450),
    ("ADD", "digits/add/add", [1, 8, 8, 24], "add_s8", "equal shapes, no broadcast", 0, 0, 52_318),
    ("MAX_POOL_2D", "digits/pool/MaxPool", [1, 4, 4, 24], "max_pool_2d_s8", "2x2, stride 2", 0, 0, 12_771),
    ("CONV_2D", "digits/conv_2/Relu;digits/conv_2/BiasAdd", [1, 4, 4, 32], "conv_2d_s8", "3x3, SAME padding",
     110_592, 7_040, 963_220),
    ("MEAN", "digits/gap/Mean", [1, 32], "mean_s8", "over height and width", 0, 0, 4_980),
    ("FULLY_CONNECTED", "digits/hidden/Relu;digits/hidden/BiasAdd", [1, 32], "fully_connected_s8",
     "per-channel scales", 1_024, 1_152, 8_802),
    ("RESHAPE", "digits/flatten/Reshape", [1, 32], "", "renames bytes", 0, 0, 0),
    ("FULLY_CONNECTED", "digits/logits/BiasAdd", [1, 10], "fully_connected_s8", "per-channel scales", 320, 360, 3_010),
    ("SOFTMAX", "StatefulPartitionedCall:0", [1, 10], "softmax_s8", "last axis of 10", 0, 0, 4_145),
]  # fmt: skip

# offset, bytes, first step, last step of each tensor in the arena; the reshape shares its input's place
PLACES = [(0, 64, -1, 1), (3_072, 1_024, 1, 5), (0, 1_600, 2, 3), (4_096, 1_024, 3, 4), (0, 1_536, 4, 6),
          (1_536, 1_536, 5, 6), (3_072, 1_536, 6, 7), (0, 384, 7, 8), (384, 512, 8, 9), (0, 32, 9, 10),
          (32, 32, 10, 12), (64, 10, 12, 13), (80, 10, 13, 14)]  # fmt: skip


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def exact() -> dict[str, Any]:
    """Two boards, both exact, accuracy within the gate."""
    targets = [
        _target("qemu_cortex_m4", "QEMU Cortex-M4 (MPS2 AN386)", "cortex-m4", 1 << 20, 256 << 10),
        _target("qemu_cortex_m0", "QEMU micro:bit (nRF51)", "cortex-m0", 256 << 10, 16 << 10),
    ]
    targets[1]["verify"]["instructions"] = {"median": 3_381_902, "min": 3_374_120, "max": 3_390_004}
    for kernel in targets[1]["kernels"]:
        kernel["instructions"] = None
    return {
        "tensorflash": "0.1.0",
        "recipe": {"name": "digits", "sha256": sha256("recipe")},
        "model": {
            "name": "digits_qat",
            "sha256": sha256("model"),
            "inputs": [
                {"name": "serving_default_image:0", "shape": [1, 8, 8, 1], "dtype": "int8", "scale": 0.003921569,
                 "zero_point": -128}
            ],
            "outputs": [
                {"name": "StatefulPartitionedCall:0", "shape": [1, 10], "dtype": "int8", "scale": 0.00390625,
                 "zero_point": -128}
            ],
            "macs": sum(op[5] for op in OPS),
            "weights_bytes": sum(op[6] for op in OPS),
            "file_bytes": 21_904,
            "tensor_types": {"int8": 28, "int32": 12},
        },
        "labels": [str(digit) for digit in range(10)],
        "input_contract": {"raw": "uint8", "scale": [0.0625], "offset": [0.0], "layout": "channels_last"},
        "quantization": {
            "methods": [
                {"name": "float", "accuracy": 356 / 360, "correct": 356, "total": 360, "file_bytes": 46_212,
                 "chosen": False, "interval": [0.972, 0.996], "against_float": None},
                {"name": "ptq", "accuracy": 352 / 360, "correct": 352, "total": 360, "file_bytes": 21_480,
                 "chosen": False, "interval": [0.957, 0.989],
                 "against_float": {"changed": 6, "gained": 1, "lost": 5, "difference": -4 / 360,
                                   "interval": [-0.026, 0.004]}},
                {"name": "qat", "accuracy": 355 / 360, "correct": 355, "total": 360, "file_bytes": 21_904,
                 "chosen": True, "interval": [0.968, 0.994],
                 "against_float": {"changed": 3, "gained": 1, "lost": 2, "difference": -1 / 360,
                                   "interval": [-0.014, 0.008]}},
            ],
            "confusion": [
                [36 - sum(n for (true, _), n in CONFUSION_MISTAKES.items() if true == row) if row == column
                 else CONFUSION_MISTAKES.get((row, column), 0) for column in range(10)]
                for row in range(10)
            ],
            "history": {
                "float": {"loss": [2.1 * 0.74**epoch + 0.012 for epoch in range(24)],
                          "val_loss": [2.0 * 0.75**epoch + 0.041 for epoch in range(24)]},
                "qat": {"loss": [0.05 * 0.8**epoch + 0.011 for epoch in range(8)],
                        "val_loss": [0.09 * 0.85**epoch + 0.04 for epoch in range(8)]},
            },
            "representative": {"samples": 200, "min": 0.0, "max": 1.0, "classes": [20] * 10},
            "layers": [
                {"name": "stem", "kind": "Conv2D", "int8": True, "reason": "", "frozen": False, "max_lsb": None,
                 "mean_lsb": None},
                {"name": "stem_relu", "kind": "ReLU", "int8": True, "reason": "", "frozen": False, "weights": None,
                 "activations": {"range": "moving_average", "decay": 0.99, "percentile": 99.9, "symmetric": False,
                                 "low": 0.0, "high": 6.1},
                 "max_lsb": 1.0, "mean_lsb": 0.02},
                {"name": "logits", "kind": "Dense", "int8": False, "reason": "excluded by the recipe", "frozen": True,
                 "max_lsb": 2.5, "mean_lsb": 0.4},
            ],
            "agreement": {"samples": 360, "same": 359},
            "sensitivity": {
                "samples": 360, "float_correct": 356, "quantized_correct": 352, "sqnr_db": 24.2, "reason": "",
                "layers": [
                    {"layer": "stem_relu", "merged": ["stem", "stem_relu"], "kinds": ["Conv2D", "ReLU"],
                     "sqnr_db": 25.1, "weights_sqnr_db": 25.9,
                     "output_sqnr_db": 40.0, "lost": 3, "regained": 4, "low": 0.0, "high": 6.0, "weights_bits": 8,
                     "suggestion": "its weights lose most: train it with int8 simulated (method: qat)"},
                    {"layer": "pool", "kinds": ["MaxPooling2D"], "sqnr_db": None, "weights_sqnr_db": None,
                     "output_sqnr_db": None, "lost": 0, "regained": 0, "low": 0.0, "high": 6.0, "weights_bits": None,
                     "suggestion": ""},
                ],
            },
            "ranges": [
                {"layer": "stem_relu", "low": 0.0, "high": 6.1, "test_low": 0.0, "test_high": 6.4, "clipped": 0.0004,
                 "usual": 0.0003},
            ],
            "warnings": ["no representative sample is of class 3: take some of every class."],
            "gate": {"max_accuracy_drop": 0.01, "accuracy_drop": 1 / 360, "passed": True},
        },
        "targets": targets,
        "versions": {"numpy": "1.26.4", "tensorflow": "2.21.0", "tflite-micro": "0.dev20260101", "jinja2": "3.1.6"},
        "tools": {"gcc": "arm-none-eabi-gcc 12.2.1", "qemu": "7.2.22", "platformio": "6.2.0"},
        "hashes": {"digits_qat.tflite": sha256("model"), "golden.npz": sha256("golden"),
                   "qemu_cortex_m4/firmware.elf": sha256("elf")},
        "timing": {"train": 41.2, "quantize": 33.84, "convert": 6.1, "export": 0.41, "build": 12.7, "verify": 9.33},
    }  # fmt: skip


def divergent() -> dict[str, Any]:
    """The first board answers wrongly from op 4 on, the second is too small, and the gate fails."""
    report = copy.deepcopy(exact())
    wrong, small = report["targets"]
    wrong["exact"] = False
    wrong["verify"].update(
        mismatched_samples=7,
        mismatched_bytes=31,
        max_abs_diff=2,
        layer_mismatches=6,
        first_divergence={"sample": 17, "op_index": 4, "op": "CONV_2D", "tensor": "digits/block_1/pointwise/BiasAdd",
                          "index": 212, "expected": -14, "actual": -13},
    )  # fmt: skip
    for layer in wrong["layers"]:
        if layer["op_index"] in (4, 6, 7, 8, 9, 13):
            layer["mismatched"] = 3
    wrong["ladder"][-1].update(mismatched_samples=7, max_abs_diff=2)
    wrong["device_accuracy"].update(correct=353, mismatched_samples=19)
    small["board"]["ram_bytes"] = 6 << 10
    report["quantization"]["gate"] = {"max_accuracy_drop": 0.001, "accuracy_drop": 1 / 360, "passed": False}
    return report


def given_model() -> dict[str, Any]:
    """`verify` of a .tflite from elsewhere, on the host, by a runtime that does not tell its plan."""
    report = copy.deepcopy(exact())
    target = report["targets"][1]
    target["board"] = {"id": "native", "title": "This computer", "core": "x86-64", "flash_bytes": None,
                       "ram_bytes": None}  # fmt: skip
    target["runtime"] = target["verify"]["runtime"] = "tflm"
    target["verify"].update(board="native", instructions=None, flash_bytes=None, ram_bytes=None, stack_bytes=None,
                            model_flash_bytes=None, model_ram_bytes=None,
                            litert={"package": None, "version": None, "kernels": None, "mismatched_samples": None,
                                    "max_abs_diff": None, "first_difference": None,
                                    "reason": "not installed"},
                            notes=["Built with the vendor's TFLM.", "Measured here: it takes 5000 bytes."])  # fmt: skip
    target["ladder"] = target["ladder"][:3]
    target["arena"]["slots"] = []
    target["device_accuracy"] = None
    target["layers"] = []
    report.update(recipe={"name": "ad01_int8", "sha256": None}, labels=[], quantization=None, targets=[target])
    return report


def _target(board: str, title: str, core: str, flash_bytes: int, ram_bytes: int) -> dict[str, Any]:
    samples, arena = 100, 5_120
    weights = sum(op[6] for op in OPS)
    return {
        "board": {"id": board, "title": title, "core": core, "flash_bytes": flash_bytes, "ram_bytes": ram_bytes},
        "runtime": "aot",
        "exact": True,
        "verify": {
            "model": {"path": "digits_qat.tflite", "sha256": sha256("model")},
            "board": board,
            "runtime": "aot",
            "samples": samples,
            "mismatched_samples": 0,
            "mismatched_bytes": 0,
            "max_abs_diff": 0,
            "first_divergence": None,
            "instructions": {"median": 1_980_108, "min": 1_974_552, "max": 1_985_310},
            "flash_bytes": 24_716,
            "ram_bytes": 5_840,
            "arena_bytes": arena,
            "stack_bytes": 712,
            "macs": sum(op[5] for op in OPS),
            "golden": "tflite-micro 0.dev20260101",
            "litert": {"package": "tflite-runtime", "version": "2.14.0", "kernels": "reference",
                       "mismatched_samples": 3, "max_abs_diff": 1, "reason": None,
                       "first_difference": {"sample": 41, "op_index": 10, "op": "FULLY_CONNECTED",
                                            "tensor": "digits/hidden/Relu;digits/hidden/BiasAdd",
                                            "max_abs_diff": 1}},
            "layers_compared": len(OPS),
            "layer_mismatches": 0,
            "weights_bytes": weights,
            "model_flash_bytes": weights + 8_912,
            "model_ram_bytes": arena + 90,
            "notes": [],
            "timing": {"seconds": 9.3},
        },
        "kernels": [
            {"op_index": index, "op": op, "kernel": kernel and f"tflash_{kernel}", "reason": reason,
             "output_shape": shape, "macs": macs, "weight_bytes": weight_bytes, "instructions": instructions}
            for index, (op, _, shape, kernel, reason, macs, weight_bytes, instructions) in enumerate(OPS)
        ],
        "layers": [
            {"op_index": index, "op": op, "tensor": tensor, "shape": shape, "dtype": "int8", "bytes": _product(shape),
             "compared": 10, "mismatched": 0}
            for index, (op, tensor, shape, *_) in enumerate(OPS)
        ],
        "arena": {
            "bytes": arena,
            "lower_bound": 4_608,
            "steps": len(OPS),
            "slots": [
                {"name": name, "offset": offset, "bytes": size, "first": first, "last": last}
                for name, (offset, size, first, last) in zip(
                    [op[1] for op in OPS if op[0] != "RESHAPE"], PLACES, strict=True
                )
            ],
        },
        "sections": {".text": 15_204, ".rodata": 9_088, ".data": 424, ".bss": 5_416},
        "device_accuracy": {"correct": 355, "total": 360, "host_correct": 355, "mismatched_samples": 0},
        "ladder": [
            {"rung": "LiteRT on the host", "against": "TFLM on the host", "samples": samples, "mismatched_samples": 3,
             "max_abs_diff": 1, "note": "It rounds FULLY_CONNECTED once.", "required": False},
            {"rung": "TFLM on the host", "against": None, "samples": samples, "mismatched_samples": 0,
             "max_abs_diff": 0, "note": "tflite-micro 0.dev20260101, reference kernels."},
            {"rung": "Our C on the host", "against": "TFLM on the host", "samples": samples, "mismatched_samples": 0,
             "max_abs_diff": 0, "note": ""},
            {"rung": f"Our C on {board}", "against": "TFLM on the host", "samples": samples, "mismatched_samples": 0,
             "max_abs_diff": 0, "note": "14 layers on 10 samples each."},
        ],
    }  # fmt: skip


def _product(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
