"""Deployment over ssh: a real server on this computer plays the board, and real failures of ssh, tar and the disk."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import tflite, vectors
from pipeline.edgetpu import bundle, deploy, troubles
from pipeline.edgetpu.bundle import Bundle
from pipeline.edgetpu.deploy import Place
from pipeline.errors import DataError, DeviceError, RequestError
from pipeline.vectors import Vectors
from tests.edgetpu.ssh_board import SshBoard, ssh_board
from tests.edgetpu.test_bundle import CORAL, LABELS, quantized


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBoard]:
    with ssh_board(tmp_path_factory.mktemp("board"), {"EDGETPU_LIBRARY": "libedgetpu-absent.so.1"}) as running:
        yield running


@pytest.fixture
def coral(server: SshBoard) -> Iterator[SshBoard]:
    """The board, empty, and with its keys known."""
    known = (server.folder / "known_hosts").read_text()
    yield server
    (server.folder / "known_hosts").write_text(known)
    for path in [*server.home.iterdir(), *server.tools.iterdir()]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("made")
    model = quantized(folder)
    return bundle.write(model, CORAL, [model.path], LABELS, folder / "bundle")


@pytest.fixture(scope="module")
def given(made: Bundle) -> Vectors:
    return vectors.make(tflite.quantized_model(tflite.read(made.folder / "small.tflite")), 6, 0)


def on_board(coral: SshBoard) -> list[Path]:
    return sorted(coral.home.glob("tensorflash/*"))


def test_a_bundle_runs_on_the_board_as_it_runs_here(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    there = deploy.run(made, given, coral.place)
    here = deploy.run(made, given, Place(), device="cpu")
    assert there.outputs[0].tobytes() == here.outputs[0].tobytes()
    assert there.repeats
    assert there.passes == here.passes
    # The board has no library, and says so.
    assert (there.device, there.trouble) == ("cpu", "library-missing")
    assert [path.name for path in on_board(coral)] == [f"small-{made.identity[:16]}"]
    assert sorted(p.name for p in on_board(coral)[0].iterdir()) == sorted(made.files)


def test_a_bundle_that_is_there_is_not_sent_again(coral: SshBoard, made: Bundle) -> None:
    deploy.push(made, coral.place)
    before = on_board(coral)[0].stat().st_ctime_ns
    coral.tool("tar", "exit 1")
    assert deploy.push(made, coral.place) == f"tensorflash/small-{made.identity[:16]}"
    assert on_board(coral)[0].stat().st_ctime_ns == before


@pytest.mark.parametrize("edit", [pytest.param("model", marks=pytest.mark.slow), "module", "manifest"])
def test_a_bundle_that_was_edited_on_the_board_does_not_run(
    edit: str, coral: SshBoard, made: Bundle, given: Vectors
) -> None:
    deploy.push(made, coral.place)
    (folder,) = on_board(coral)
    if edit == "model":
        (folder / "small.tflite").write_bytes(b"x")
    elif edit == "module":
        (folder / "json.py").write_text("raise SystemExit('taken over')")
    else:
        (folder / "SHA256SUMS").write_text("")
    with pytest.raises(DataError, match="was changed, added or lost") as e:
        deploy.run(made, given, coral.place)
    assert "taken over" not in str(e.value)


def test_a_board_whose_host_key_changed_gets_nothing(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    coral.new_host_key()
    with pytest.raises(DeviceError, match="another host key") as e:
        deploy.run(made, given, coral.place)
    assert e.value.exit_code == 3
    assert "ssh-keygen -R" in str(e.value.hint)
    assert on_board(coral) == []


def test_a_board_whose_host_key_is_unknown_gets_nothing(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    coral.forget_host_key()
    with pytest.raises(DeviceError, match="does not know the board's host key"):
        deploy.run(made, given, coral.place)
    assert on_board(coral) == []
    assert (coral.folder / "known_hosts").read_text() == ""  # nor was it learnt on the way


def test_a_board_that_does_not_let_us_in(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    with pytest.raises(DeviceError, match="does not let this user in") as e:
        deploy.run(made, given, replace(coral.place, identity=coral.folder / "host"))
    assert "ssh-copy-id" in str(e.value.hint)


def test_a_board_that_cannot_be_reached(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DeviceError, match="cannot be reached"):
        deploy.run(made, given, replace(coral.place, port=port))


def test_a_full_disk_on_the_board_is_named_and_leaves_nothing(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    # What tar unpacks goes to a device that is always full.
    tar = shutil.which("tar")
    coral.tool("tar", f"exec {tar} -xOf - > /dev/full")
    with pytest.raises(DeviceError, match="disk is full") as e:
        deploy.run(made, given, coral.place)
    assert e.value.exit_code == 3
    assert on_board(coral) == []


def test_a_connection_that_breaks_leaves_no_half_bundle(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    coral.tool("tar", "head -c 100 > /dev/null; exit 2")
    with pytest.raises(DeviceError, match="cannot unpack the bundle"):
        deploy.run(made, given, coral.place)
    assert on_board(coral) == []


def test_a_board_without_an_interpreter_is_named(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    # An isolated Python sees no packages, as one on which none was installed.
    coral.tool("bare-python", '[ "$1" = -B ] && shift; exec python3 -I -S "$@"')
    place = replace(coral.place, python=str(coral.tools / "bare-python"))
    with pytest.raises(DeviceError, match="has no TensorFlow Lite interpreter") as e:
        deploy.run(made, given, place)
    assert "python3-tflite-runtime" in str(e.value.hint)


def test_a_board_without_python_is_a_failed_runner(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    with pytest.raises(DeviceError, match=r"ended with exit code 12[67]"):
        deploy.run(made, given, replace(coral.place, python="no-such-python"))


def test_a_runner_that_is_killed_on_the_board_is_told(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    coral.tool("dies", "kill -SEGV $$")
    with pytest.raises(DeviceError, match="died of SIGSEGV"):
        deploy.run(made, given, replace(coral.place, python=str(coral.tools / "dies")))


@pytest.mark.slow
def test_a_runner_that_hangs_is_ended(coral: SshBoard, made: Bundle, given: Vectors) -> None:
    deploy.push(made, coral.place)
    coral.tool("hangs", "sleep 60")
    with pytest.raises(DeviceError, match="took too long"):
        deploy.run(made, given, replace(coral.place, python=str(coral.tools / "hangs")), timeout_s=2)


@pytest.mark.parametrize(
    "answer",
    [
        "echo welcome",
        pytest.param("cat /dev/null", marks=pytest.mark.slow),
        pytest.param("head -c 5000 /dev/urandom", marks=pytest.mark.slow),
    ],
)
def test_an_answer_that_is_none_is_told(answer: str, coral: SshBoard, made: Bundle, given: Vectors) -> None:
    coral.tool("talks", answer)
    with pytest.raises(DeviceError, match="cannot be read"):
        deploy.run(made, given, replace(coral.place, python=str(coral.tools / "talks")))


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "", "a;b", "$(x)"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(RequestError, match="not a host"):
        Place(host=host)


@pytest.mark.parametrize("folder", ["../x", "a b", "-x", "$HOME", "a/../b", ""])
def test_what_is_no_plain_folder_is_refused(folder: str) -> None:
    with pytest.raises(RequestError, match="plain path"):
        Place(host="board", folder=folder)


def test_every_message_of_ssh_is_known_by_its_words() -> None:
    for trouble in troubles.SSH:
        assert troubles.explain(trouble.says, troubles.SSH) == trouble
