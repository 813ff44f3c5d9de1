"""Boards: what comes with tensorflash is sound, and a mistake in a board file is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline import board
from pipeline.cli import main
from pipeline.errors import BoardError

IDS = [
    "native",
    "qemu_cortex_m0",
    "qemu_cortex_m3",
    "qemu_cortex_m33",
    "qemu_cortex_m4",
    "qemu_cortex_m55",
    "qemu_cortex_m7",
    "qemu_riscv32",
    "qemu_stm32f405",
]
HARDWARE = [
    "b_u585i_iot02a",
    "esp32_c3_devkitm_1",
    "esp32_devkitc",
    "esp32_s3_devkitc_1",
    "nano_33_ble_sense",
    "nicla_vision",
    "nrf52840_dk",
    "nucleo_f446re",
    "nucleo_f767zi",
    "nucleo_h743zi2",
    "nucleo_l4r5zi",
    "pico",
    "pico2",
    "portenta_h7",
    "sparkfun_edge",
    "stm32f746g_disco",
    "teensy41",
    "xiao_esp32s3",
    "xiao_nrf52840",
]
BAD_BOARDS = sorted((Path(__file__).parent / "bad_boards").glob("*.toml"))


def test_the_boards_are_the_host_and_then_the_emulated_and_then_the_real_ones() -> None:
    assert [b.id for b in board.all_boards() if b.core != "edgetpu"] == [*IDS, *HARDWARE]


@pytest.mark.parametrize("name", [*IDS, *HARDWARE])
def test_a_board_is_loaded_by_its_id_and_equal_to_the_one_in_the_list(name: str) -> None:
    assert board.load(name) == next(b for b in board.all_boards() if b.id == name)


@pytest.mark.parametrize("name", IDS[1:])
def test_an_emulated_board_counts_a_billion_instructions_without_doubt(name: str) -> None:
    emulator = board.load(name).emulator
    assert emulator is not None
    instruction_ns = 2**emulator.icount_shift
    assert 2**32 * emulator.tick_ns / instruction_ns >= 1e9  # before the 32-bit counter wraps
    # A difference of ticks is off by less than one tick; rounding is right if that is at most half an instruction.
    assert emulator.tick_ns == instruction_ns or emulator.tick_ns <= instruction_ns / 2


def test_features_are_what_the_cores_have() -> None:
    features = {b.id: set(b.features) for b in board.all_boards()}
    assert features["qemu_cortex_m0"] == features["qemu_cortex_m3"] == features["qemu_riscv32"] == set()
    assert features["qemu_cortex_m4"] == {"dsp", "fpu"}
    assert features["qemu_cortex_m55"] == {"dsp", "fpu", "mve"}


def test_only_the_host_has_no_budget() -> None:
    unlimited = [b.id for b in board.all_boards() if b.flash_bytes is None or b.ram_bytes is None]
    assert [name for name in unlimited if not name.startswith("coral_")] == ["native"]
    assert board.load("native").is_host


def test_an_unknown_board_is_answered_with_those_near_it_and_how_to_list_all() -> None:
    near = r"no board 'qemu_cortexm4'; near it are qemu_cortex_m4, qemu_cortex_m\d, qemu_cortex_m\d\.$"
    capitals = r"no board 'QEMU_CORTEX_M4'; near it are qemu_cortex_m4,"
    for name, message in (("qemu_cortexm4", near), ("QEMU_CORTEX_M4", capitals), ("zzz", r"no board 'zzz'\.$")):
        with pytest.raises(BoardError) as caught:
            board.load(name)
        assert re.search(message, caught.value.message)
        assert "`tensorflash boards` lists all" in str(caught.value)


def test_a_board_file_of_ones_own_is_loaded_by_its_path(tmp_path: Path) -> None:
    source = Path(board.__file__).parent / "boards" / "qemu_cortex_m3.toml"
    mine = tmp_path / "mine.toml"
    mine.write_text(source.read_text().replace('"qemu_cortex_m3"', '"mine"').replace("262_144 ", "131_072 "))
    assert board.load(mine).ram_bytes == board.load(str(mine)).ram_bytes == 131_072


@pytest.mark.parametrize("name", HARDWARE)
def test_a_real_board_says_how_it_is_built_flashed_and_heard(name: str) -> None:
    real = board.load(name)
    assert real.is_hardware and not real.is_host and real.emulator is None and real.startup is None
    assert real.platformio is not None and real.serial is not None
    assert real.port == real.platformio.framework
    assert real.serial.usb
    assert (real.toolchain is None) == real.core.startswith("xtensa")


def test_every_number_of_a_real_board_has_its_source() -> None:
    for name in HARDWARE:
        text = (Path(board.__file__).parent / "boards" / f"{name}.toml").read_text()
        for key in ("clock_hz", "flash_bytes", "ram_bytes", "origin", "usb", "bootloader"):
            lines = [line for line in text.splitlines() if line.startswith(f"{key} = ")]
            assert lines and all("  # " in line for line in lines), (name, key)


@pytest.mark.parametrize("path", BAD_BOARDS, ids=[p.stem for p in BAD_BOARDS])
def test_a_mistake_in_a_board_file_is_named(path: Path) -> None:
    expected = path.read_text().partition("\n")[0].removeprefix("# expect: ")
    with pytest.raises(BoardError) as caught:
        board.load(path)
    assert expected in str(caught.value)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 2


def test_a_file_that_is_no_board_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="cannot be read: No such file"):
        board.load(tmp_path / "absent.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(BoardError, match="cannot be read: Is a directory"):
        board.load(tmp_path / "folder.toml")
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    with pytest.raises(BoardError, match="not a TOML file"):
        board.load(tmp_path / "binary.toml")
    (tmp_path / "huge.toml").write_bytes(b"#" * 70_000)
    with pytest.raises(BoardError, match="at most 65536 bytes"):
        board.load(tmp_path / "huge.toml")


def test_a_board_file_is_checked_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = Path(board.__file__).parent / "boards" / "pico.toml"
    mine = tmp_path / "mine.toml"
    mine.write_text(source.read_text().replace('id = "pico"', 'id = "mine"'))
    assert main(["boards", "--check", str(mine)]) == 0
    assert "mine" in capsys.readouterr().out
    mine.write_text(mine.read_text().replace("baud = 115_200", "bauds = 115_200"))
    assert main(["boards", "--check", str(mine)]) == 2
    assert "'baud' is missing" in capsys.readouterr().err
    assert main(["boards", "--check", "pico"]) == 2
    assert "a board file ends in .toml" in capsys.readouterr().err
