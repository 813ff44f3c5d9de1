"""Every error a user can meet.

    TensorflashError              exit code
    ├── RequestError              2   the command line or a file the user wrote asks for something impossible
    │   ├── RecipeError           2   recipe.yaml, with file and line
    │   ├── BoardError            2   an unknown board, or a board file with a mistake
    │   └── DataError             2   training, test, representative or golden data
    ├── ModelError                2   the model cannot be read, or is not what it has to be
    │   └── UnsupportedError      2   a sound model with something a runtime cannot do
    ├── BudgetError               1   it does not fit the board
    ├── GateError                 1   wrong answers, or an accuracy below the recipe's gate
    ├── ToolError                 3   a compiler, emulator or package is missing or failed
    └── DeviceError               3   a device is silent, or is not the device that was asked for

A message says where, what was found and what was needed; the hint says what to do next.
"""

from __future__ import annotations


class TensorflashError(Exception):
    """Base of all errors that are reported without a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  Try: {self.hint}"


class RequestError(TensorflashError):
    """The request cannot be carried out as written."""

    exit_code = 2


class RecipeError(RequestError):
    """A recipe file has a mistake."""


class BoardError(RequestError):
    """A board is unknown, or its file has a mistake."""


class DataError(RequestError):
    """Data has the wrong shape, type, range or amount."""


class ModelError(TensorflashError):
    """A model cannot be read, or is not a fully quantized int8 model."""

    exit_code = 2


class UnsupportedError(ModelError):
    """A sound model contains something that the chosen runtime cannot do."""


class BudgetError(TensorflashError):
    """The firmware does not fit the board."""

    exit_code = 1


class GateError(TensorflashError):
    """Answers are wrong, or accuracy is below the recipe's gate."""

    exit_code = 1


class ToolError(TensorflashError):
    """An external tool or optional package is missing or failed."""

    exit_code = 3


class DeviceError(TensorflashError):
    """A device does not answer, or is not the one that was asked for."""

    exit_code = 3
