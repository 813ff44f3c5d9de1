"""The runtimes a model can be exported for, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from pipeline.board import Board
from pipeline.errors import RequestError
from pipeline.model import Export
from pipeline.tflite import Graph


def _aot(graph: Graph, board: Board, _library: str | None) -> Export:
    from pipeline import aot

    return aot.export(graph, aot.Core(board.features, board.fast_ram.bytes if board.fast_ram else 0))


def _tflm(graph: Graph, board: Board, library: str | None) -> Export:
    from pipeline import tflm, tflm_library

    return tflm.export(graph, board, tflm_library.choose(board, library))


RUNTIMES: Mapping[str, Callable[[Graph, Board, str | None], Export]] = {"aot": _aot, "tflm": _tflm}


def export(graph: Graph, board: Board, runtime: str, library: str | None = None) -> Export:
    """Turn an audited graph into source files for one runtime, or say why that cannot be done.

    Args:    library: the TFLM library of the tflm runtime (pipeline/tflm_library.py); default: the board's framework's.
    Raises:  RequestError: no such runtime, or a board without firmware. UnsupportedError: the runtime cannot carry this
             model.
    """
    if board.edgetpu is not None:
        raise RequestError(
            f"{board.id} runs a bundle and no firmware.",
            hint="`tensorflash edgetpu`, or a recipe with `runtime: edgetpu`.",
        )
    if runtime not in RUNTIMES:
        near = get_close_matches(runtime, RUNTIMES, 1)
        raise RequestError(
            f"runtime '{runtime}': there is no such runtime.",
            hint=f"'{near[0]}'?" if near else f"one of {', '.join(RUNTIMES)}.",
        )
    return RUNTIMES[runtime](graph, board, library)
