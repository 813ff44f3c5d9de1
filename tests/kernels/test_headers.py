"""Each kernel header stands alone, in C and in C++, without a warning."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.kernels.batch import FIRMWARE, WARNINGS

KERNELS = FIRMWARE / "kernels"


@pytest.mark.parametrize(
    "compiler",
    [["gcc", "-x", "c", *WARNINGS], ["g++", "-x", "c++", "-std=c++11", *WARNINGS[1:]]],
    ids=["C", "C++"],
)
def test_each_header_stands_alone(compiler: list[str], tmp_path: Path) -> None:
    # Twice, to see its include guard.
    units = []
    for header in sorted(KERNELS.glob("*.h")):
        if header.stem.endswith("_body"):  # a part of kernels, which say what it is
            continue
        units.append(tmp_path / f"{header.stem}.c")
        units[-1].write_text(f'#include "{header.name}"\n#include "{header.name}"\n\nextern int unit;\n')
    assert units
    done = subprocess.run(
        [*compiler, "-fsyntax-only", f"-I{KERNELS}", *map(str, units)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_each_kernel_defines_the_function_of_its_name() -> None:
    for source in KERNELS.glob("*.c"):
        content = source.read_text()
        declared = re.search(r"#define TFLASH_BODY (.*)\n#include \"(.*)\"", content)
        if declared:
            params = re.search(r"#define TFLASH_PARAMS (.*)\n", content)
            body = (KERNELS / declared[2]).read_text().replace("TFLASH_BODY(", f"{declared[1]}(")
            content += body.replace("TFLASH_PARAMS *", f"{params[1]} *") if params else body
        params = "filters" if source.stem.startswith("filters_") else f"{source.stem}_params"
        assert f"void tflash_{source.stem}(const struct tflash_{params} *" in " ".join(content.split())
        assert content.startswith("/* "), f"{source.name} begins with its contract"
