"""A board that ssh reaches: a server of one's own on a loopback port, with its own keys, its own home and no password.

As root it needs the folder in which sshd gives up its rights; as any other user it only lets that user in.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.edgetpu.deploy import Place


@dataclass(frozen=True)
class SshBoard:
    """folder: keys and configuration; home: what the board's user sees as home; tools: comes first on its PATH."""

    folder: Path
    home: Path
    tools: Path
    place: Place

    def new_host_key(self) -> None:
        """The server has the same key, but the client remembers another one."""
        _key(self.folder / "other")
        known = self.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.place.port} {_public(self.folder / 'other')}\n")

    def forget_host_key(self) -> None:
        (self.folder / "known_hosts").write_text("")

    def tool(self, name: str, script: str) -> None:
        """A program of the board."""
        self.tools.joinpath(name).write_text(f"#!/bin/sh\n{script}\n")
        self.tools.joinpath(name).chmod(0o755)


@contextmanager
def ssh_board(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[SshBoard]:
    """Run the server until the block is left. settings: environment variables on the board."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if sshd is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("not installed: sshd, ssh and ssh-keygen (Debian's openssh-server and openssh-client)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    home, tools = folder / "home", folder / "tools"
    home.mkdir(parents=True)
    tools.mkdir()
    _key(folder / "host")
    _key(folder / "user")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "authorized").write_text(_public(folder / "user") + "\n")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {_public(folder / 'host')}\n")
    variables = {"PATH": f"{tools}:{os.environ['PATH']}", **(settings or {})}
    # Like a login on a board: the command starts in a home of its own.
    start = folder / "start"
    start.write_text(f'#!/bin/sh\ncd {home} && exec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    start.chmod(0o755)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\n"
        f"HostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'authorized'}\n"
        f"PidFile {folder / 'pid'}\n"
        f"ForceCommand {start}\n"
        f"SetEnv {' '.join(f'{name}={value}' for name, value in variables.items())}\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "StrictModes no\nUsePAM no\nAllowTcpForwarding no\nX11Forwarding no\n"
    )
    log = folder / "sshd.log"
    with (
        log.open("wb") as stream,
        subprocess.Popen(
            [sshd, "-D", "-e", "-f", folder / "sshd_config"], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        ) as server,
    ):
        try:
            for _ in range(200):  # until it listens
                if b"listening on" in log.read_bytes():
                    break
                if server.poll() is not None:
                    break
                time.sleep(0.05)
            if server.poll() is not None or b"listening on" not in log.read_bytes():
                pytest.fail(f"sshd did not start: {log.read_text()}")
            place = Place(
                host=f"{getpass.getuser()}@127.0.0.1",
                port=port,
                identity=folder / "user",
                known_hosts=folder / "known_hosts",
                python=sys.executable,
            )
            yield SshBoard(folder, home, tools, place)
        finally:
            server.terminate()


def _key(path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path],
        check=True, timeout=30, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def _public(path: Path) -> str:
    return path.with_suffix(".pub").read_text().strip()
