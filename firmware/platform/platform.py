"""A PlatformIO platform that lives inside the project and needs no registry."""

import json
from pathlib import Path

from platformio.dependencies import get_core_dependencies
from platformio.public import PlatformBase

SCONS = """\
import sys

try:
    import SCons.Script
except ImportError:
    sys.exit("Error: scons is missing. Install it with: " + sys.executable + " -m pip install scons")
SCons.Script.main()
"""


class TensorflashPlatform(PlatformBase):
    def configure_default_packages(self, options, targets):
        # PlatformIO would download its build tool; PyPI's scons is the same program. The version is the one that the
        # PlatformIO at hand asks for, so that it takes the package for its own.
        folder = Path(self.config.get("platformio", "core_dir")).resolve() / "tool-scons"
        version = get_core_dependencies()["tool-scons"].lstrip("~^=")
        manifest = {"name": "tool-scons", "version": version, "description": "scons from PyPI", "system": "*"}
        _write(folder / "package.json", json.dumps(manifest))
        _write(folder / "scons.py", SCONS)
        self.packages["tool-scons"] = {"owner": "platformio", "version": f"symlink://{folder}"}
        return super().configure_default_packages(options, targets)

    def is_embedded(self):
        return True


def _write(path, text):
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
