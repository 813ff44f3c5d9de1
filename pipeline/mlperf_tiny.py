"""MLPerf Tiny: which of its benchmarks a model is, and what its runner sends.

The protocol itself is firmware/mlperf_tiny/mlperf_tiny.c. Source: github.com/mlcommons/tiny, benchmark/api and the
datasets of benchmark/evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import UnsupportedError
from pipeline.model import QuantizedModel


@dataclass(frozen=True)
class Benchmark:
    """One benchmark. input is what the runner sends for an element: a key of `enum tflash_mlperf_input`."""

    id: str
    task: str
    elements: int  # of the model's input
    scores: int  # elements of its output
    input: str

    @property
    def data_bytes(self) -> int:
        """Bytes that the runner sends for one sample: float32 features, else one byte an element."""
        return 4 * self.elements if self.input == "FEATURES" else self.elements


BENCHMARKS = (
    Benchmark("kws01", "keyword spotting", 49 * 10, 12, "CODES"),
    Benchmark("vww01", "visual wake words", 96 * 96 * 3, 2, "PIXELS"),
    Benchmark("ic01", "image classification", 32 * 32 * 3, 10, "PIXELS"),
    Benchmark("ad01", "anomaly detection", 640, 640, "FEATURES"),
)


def benchmark_of(model: QuantizedModel) -> Benchmark:
    """The benchmark whose input and output the model has.

    Raises:  UnsupportedError: there is none: the runner would have no data for it.
    """
    tensors = (*model.inputs, *model.outputs)
    if len(model.inputs) == len(model.outputs) == 1 and all(t.dtype == "int8" for t in tensors):
        for benchmark in BENCHMARKS:
            if (benchmark.elements, benchmark.scores) == tuple(t.elements for t in tensors):
                return benchmark
    found = " and ".join(
        f"{kind} {', '.join(f'{t.elements} {t.dtype}' for t in specs)}"
        for kind, specs in (("input", model.inputs), ("output", model.outputs))
    )
    needed = "; ".join(f"{b.id} {b.elements} to {b.scores}" for b in BENCHMARKS)
    raise UnsupportedError(
        f"{model.name}: no benchmark of MLPerf Tiny has a model like this: found {found}; needed int8, {needed}.",
        hint="leave --protocol out: the frames of the environment `verify` carry any model.",
    )
