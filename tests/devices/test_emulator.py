"""The same frames on emulated boards, over the FIFOs and over the UART."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pipeline.board import all_boards, load
from pipeline.devices import TRANSPORTS, Device, open_device
from pipeline.devices.link import FrameLink
from pipeline.errors import DeviceError
from pipeline.model import Image
from tests.devices.conftest import Built
from tests.devices.toy import LAYERS, MODEL, FaultyLine, layers, outputs, sample

pytestmark = pytest.mark.emulated

BY_DEFAULT = ("qemu_cortex_m0", "qemu_cortex_m4")
BOARDS = [
    pytest.param(board.id, marks=[] if board.id in BY_DEFAULT else [pytest.mark.slow])
    for board in all_boards()
    if board.emulator is not None
]


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_answers_the_same_over_both_transports(board: str, built: Built, tmp_path: Path) -> None:
    counts = set()
    for transport in TRANSPORTS * 2:
        with open_device(load(board), built(board)["verify"], work=tmp_path, transport=transport) as device:
            device.expect(MODEL, "aot")
            for run in (1, 2, 3):
                answer = device.infer(sample(run))
                assert [array.tobytes() for array in answer.outputs] == outputs(sample(run), run)
                counts.add(answer.count)
            assert device.count_unit == "instructions"
            assert 0 < device.stack_bytes() <= load(board).stack_bytes
            device.restart()
            assert device.infer(sample(4)).outputs[1] == 1
            counts.add(device.infer(sample(5)).count)
    assert len(counts) == 1 and min(c for c in counts if c is not None) > 600, "one instruction an element is the least"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("board", BOARDS)
def test_a_board_shows_every_layer(board: str, transport: str, built: Built, tmp_path: Path) -> None:
    with open_device(load(board), built(board)["trace"], work=tmp_path, transport=transport, count=False) as device:
        for run in (1, 2):
            answer = device.trace(sample(run), LAYERS)
            assert answer.layers is not None
            assert [a.tobytes() for a in answer.layers] == [a.tobytes() for a in layers(sample(run), run)]
            assert [a.tobytes() for a in answer.outputs] == outputs(sample(run), run)
        assert (device.infer(sample(3)).count, device.count_unit) == (None, None)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bad_lines_to_an_emulated_board_do_no_harm(transport: str, built: Built, tmp_path: Path) -> None:
    board = load("qemu_cortex_m4")
    with open_device(board, built(board.id)["verify"], work=tmp_path, transport=transport) as good:
        line = FaultyLine(good.link.stream, "all", seed=1)
        device = Device(FrameLink(line, first_wait_s=0.2, timeout_s=60.0))
        for run in (1, 2, 3):
            assert [array.tobytes() for array in device.infer(sample(run)).outputs] == outputs(sample(run), run)
        assert line.injected > 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_emulator_is_gone_after_an_exception(transport: str, built: Built, tmp_path: Path) -> None:
    board = load("qemu_cortex_m4")
    with (
        pytest.raises(KeyboardInterrupt),
        open_device(board, built(board.id)["verify"], work=tmp_path, transport=transport) as device,
    ):
        process = device.link.stream._process  # type: ignore[attr-defined]
        raise KeyboardInterrupt
    assert process.returncode is not None


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_emulator_that_dies_is_an_error(transport: str, built: Built, tmp_path: Path) -> None:
    board = load("qemu_cortex_m4")
    with open_device(board, built(board.id)["verify"], work=tmp_path, transport=transport) as device:
        device.link.stream._process.send_signal(signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(DeviceError, match=r"qemu_cortex_m4: the process was killed by signal 9"):
            device.infer(sample(1))


def test_an_image_that_is_no_program_is_an_error_in_the_emulators_words(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.elf"
    garbage.write_bytes(b"\x7fELF" + bytes(100))
    with (
        pytest.raises(DeviceError, match=r"(?s)qemu_cortex_m4: the process .*qemu: fatal: Lockup"),
        open_device(load("qemu_cortex_m4"), Image("verify", garbage, "", 0, 0), work=tmp_path),
    ):
        pass
