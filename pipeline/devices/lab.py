"""Boards in a lab: a place of labgrid's is acquired, its serial port is used, and the place is released in any case.

labgrid is not imported, its command labgrid-client is asked. So it may live in an environment of its own (its fork of
pyserial overwrites pyserial's files), and its own settings hold: LG_COORDINATOR, LG_ENV, LG_PROXY, LG_TOKEN.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from pipeline import lifetime
from pipeline.devices.lock import locked
from pipeline.errors import DeviceError, RequestError, ToolError

SCHEME = "labgrid://"
_CLIENT = "labgrid-client"
_TIMEOUT_S = 60.0
_URLS = {"raw": "socket", "rfc2217": "rfc2217"}  # protocol of a NetworkSerialPort -> pyserial's scheme
_LOG = logging.getLogger(__name__)


@contextmanager
def held(port: str | None) -> Iterator[str | None]:
    """The address of the serial port of labgrid://PLACE, acquired meanwhile; another port as it is.

    A place that this user has acquired before, on this computer, is used and stays acquired.

    Raises:  DeviceError: somebody else has acquired or reserved the place, it does not exist, or it has not exactly one
             serial port that can be reached. ToolError: labgrid is not installed.
    """
    if port is None or not port.startswith(SCHEME):
        yield port
        return
    place = place_of(port)
    with locked(f"{port} of {os.environ.get('LG_COORDINATOR', '')}", name=port):
        had_it, acquired = _has(place), False
        try:
            if not had_it:
                _acquire(port, place)
                acquired = True
            yield _address(port, place)
        finally:
            if acquired or (not had_it and _has(place)):  # the latter if it was interrupted while it acquired
                _release(port, place)


def place_of(port: str) -> str:
    """The place of labgrid://PLACE; "+" is the one that LG_TOKEN's reservation has got.

    Raises:  RequestError: that is no name of a place. ToolError: labgrid is not installed.
    """
    place = port.removeprefix(SCHEME)
    if not re.fullmatch(r"\+|[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,100}", place):
        raise RequestError(f"{port}: '{place}' is not the name of a place.", hint=f"`{_CLIENT} places` lists them.")
    if shutil.which(_CLIENT) is None:
        raise ToolError(f"{port}: {_CLIENT} is not installed.", hint="pipx install labgrid")
    return place


def _has(place: str) -> bool:
    """Whether this user has acquired the place, on this computer."""
    return _ask(place, "env")[0] == 0


def _acquire(port: str, place: str) -> None:
    code, _, said = _ask(place, "acquire")
    if code != 0:
        raise DeviceError(
            f"{port}: the place cannot be acquired: {said}",
            hint=f"`{_CLIENT} who` and `{_CLIENT} reservations` tell who has it; `{_CLIENT} reserve --wait "
            f"name={place}` waits for it.",
        )


def _address(port: str, place: str) -> str:
    code, text, said = _ask(place, "env")
    if code != 0:
        raise DeviceError(f"{port}: labgrid does not say what is there: {said}")
    found = _serial_ports(text)
    if len(found) != 1:
        raise DeviceError(
            f"{port}: needed one serial port (NetworkSerialPort), found {len(found)}.",
            hint=f"`{_CLIENT} -p {place} show` lists what is there, `add-match` and `del-match` change it.",
        )
    resource = found[0]
    if isinstance(resource.get("extra"), dict) and resource["extra"].get("proxy_required"):
        raise DeviceError(
            f"{port}: its serial port can be reached through ssh only ({resource['extra'].get('proxy')}).",
            hint=f"acquire the place, `ssh -L` to {resource.get('host')}:{resource.get('port')}, and --port "
            "rfc2217://localhost:..",
        )
    host, number, scheme = resource.get("host"), resource.get("port"), _URLS.get(resource.get("protocol", "rfc2217"))
    if not isinstance(host, str) or not isinstance(number, int) or scheme is None:
        raise DeviceError(f"{port}: labgrid's serial port has no address that is known here: {resource}.")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{number}"


def _serial_ports(text: str) -> list[dict[str, Any]]:
    """The arguments of each NetworkSerialPort in what `labgrid-client env` prints."""
    try:
        (target,) = yaml.safe_load(text)["targets"].values()
        return [dict(arguments) for each in target["resources"] for arguments in [each.get("NetworkSerialPort")]
                if arguments]  # fmt: skip
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DeviceError(f"{_CLIENT} env: not understood: {text[:500]!r}") from error


def _release(port: str, place: str) -> None:
    """Says so where it does not work, and hides no error that came before."""
    try:
        code, _, said = _ask(place, "release")
    except ToolError as error:
        code, said = 1, error.message
    if code != 0:
        _LOG.warning("%s: the place could not be released: %s; `%s -p %s release`", port, said, _CLIENT, place)


def _ask(place: str, command: str) -> tuple[int, str, str]:
    """Exit code, what labgrid-client printed, and what it complained of.

    Raises:  ToolError: it cannot be run, or hangs.
    """
    try:
        with lifetime.process(
            [_CLIENT, "-p", place, command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            printed, said = process.communicate(timeout=_TIMEOUT_S)
    except OSError as error:
        raise ToolError(f"{_CLIENT} cannot be run: {error.strerror}.", hint="pipx install labgrid") from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{_CLIENT} -p {place} {command}: no answer within {_TIMEOUT_S:g} s.",
            hint="LG_COORDINATOR has to be the coordinator's host:port.",
        ) from error
    words = " ".join(said.decode("utf-8", "replace").split())
    return process.returncode, printed.decode("utf-8", "replace"), words[-600:] or f"exit code {process.returncode}"
