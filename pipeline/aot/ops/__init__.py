"""Lowerings: one module an op family, each a function `(graph, op, core) -> Step`."""

from __future__ import annotations

from pipeline.aot.ops.conv_2d import lower_conv_2d
from pipeline.aot.ops.depthwise_conv_2d import lower_depthwise_conv_2d
from pipeline.aot.ops.fully_connected import lower_fully_connected
from pipeline.aot.ops.mean import lower_mean
from pipeline.aot.ops.pool import lower_average_pool_2d, lower_max_pool_2d
from pipeline.aot.steps import Lowering

LOWERINGS: dict[str, Lowering] = {
    "AVERAGE_POOL_2D": lower_average_pool_2d,
    "CONV_2D": lower_conv_2d,
    "DEPTHWISE_CONV_2D": lower_depthwise_conv_2d,
    "FULLY_CONNECTED": lower_fully_connected,
    "MAX_POOL_2D": lower_max_pool_2d,
    "MEAN": lower_mean,
}
