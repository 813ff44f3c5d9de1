"""Rig files: which boards are where, and the mistakes they may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import BoardError, RequestError
from pipeline.rig import Place, load

DESK = '[[place]]\nname = "desk"\nboard = "nucleo_f767zi"\n'


def rig(folder: Path, text: str) -> tuple[Place, ...]:
    (folder / "rig.toml").write_text(text)
    return load(folder / "rig.toml")


def test_a_rig_names_boards_and_ports(tmp_path: Path) -> None:
    far = '[[place]]\nname = "far"\nboard = "qemu_cortex_m4"\ntransport = "uart"\n'
    places = rig(tmp_path, DESK + 'port = "socket://shelf:7000"\n' + far)
    assert [(p.name, p.board.id, p.port, p.transport) for p in places] == [
        ("desk", "nucleo_f767zi", "socket://shelf:7000", "fast"),
        ("far", "qemu_cortex_m4", None, "uart"),
    ]


def test_the_rig_of_the_users_guide_is_one(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs/hardware.md").read_text()
    lines = guide.partition("\n## A rig\n")[2].partition("    pytest ")[0].splitlines()
    places = rig(tmp_path, "\n".join(line[4:] for line in lines if line.startswith("    ")))
    assert [place.name for place in places] == ["desk", "nano", "shelf", "rack", "emulated"]


def test_a_board_file_is_looked_for_beside_the_rig(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"mine\.toml: the board file cannot be read"):
        rig(tmp_path, '[[place]]\nname = "a"\nboard = "mine.toml"\n')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a rig has .*: found no place"),
        ("x = 1", "a rig has .*: found x"),
        ("[place]\na = 1", "a rig has"),
        ("place = 1 2", "not a TOML file"),
        ('[[place]]\nname = "a"', "place 1: 'board' is missing"),
        (DESK + "port = 3", "port = 3: one line of text is needed"),
        (DESK + 'baud = "9600"', "'baud' is not a key here; the keys are name, board"),
        (DESK.replace("desk", "../desk"), "letters, digits"),
        (DESK + 'transport = "uart"', "only an emulated board has a transport"),
        ('[[place]]\nname = "a"\nboard = "qemu_cortex_m4"\ntransport = "air"', "fast or uart is needed"),
        (DESK + 'flash = "flasher"', r"\{elf\} is missing, which stands for the image's path"),
        (DESK + """flash = "flasher '{elf}\"""", "No closing quotation"),
        (
            '[[place]]\nname = "a"\nboard = "qemu_cortex_m4"\nflash = "flasher {elf}"',
            "an emulated board that runs here is not flashed",
        ),
        ('[[place]]\nname = "a"\nboard = "coral_usb"', "runs a bundle and no firmware"),
        (DESK + DESK, "two places have the name 'desk'"),
        (DESK + DESK.replace("desk", "shelf"), "several nucleo_f767zi: each needs a port or a serial_number"),
        (
            DESK + 'serial_number = "1"\n' + DESK.replace("desk", "shelf") + 'serial_number = "1"',
            "two places have the serial number '1'",
        ),
    ],
)
def test_a_mistake_is_told(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        rig(tmp_path, text)
