"""Build with the system's gcc; `upload` runs the firmware: in QEMU, or on this computer."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
# As literals: an expanded variable with a space would become two arguments.
project_dir, build_dir = (env.subst(name).replace("$", "$$") for name in ("$PROJECT_DIR", "$BUILD_DIR"))
platform, board = env.PioPlatform(), env.BoardConfig()
prefix = board.get("build.prefix")
cpu_flags = board.get("build.cpu_flags")
install = board.get("build.install")
project_lib = Path(env.subst("$PROJECT_DIR")) / "lib"
emulated = bool(prefix)

if not shutil.which(prefix + "gcc", path=env["ENV"].get("PATH")):
    sys.stderr.write(f"Error: {prefix}gcc is not on the PATH. Debian, Ubuntu: sudo apt-get install {install}\n")
    env.Exit(1)

env.Replace(
    AR=prefix + "gcc-ar",
    AS=prefix + "as",
    CC=prefix + "gcc",
    CXX=prefix + "g++",
    OBJCOPY=prefix + "objcopy",
    RANLIB=prefix + "gcc-ranlib",
    SIZETOOL=prefix + "size",
    ARFLAGS=["rc"],
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    SIZEPROGREGEXP=r"^(?:\.text|\.rodata|\.data|\.init_array|\.ARM\.exidx)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
)
env.Append(
    ASPPFLAGS=[*cpu_flags, "-x", "assembler-with-cpp"],
    # The same bytes wherever the project lies.
    CCFLAGS=[*cpu_flags, "-g", "-ffunction-sections", "-fdata-sections", f"-ffile-prefix-map={project_dir}=."],
    CFLAGS=["-std=c11"],
    CXXFLAGS=["-std=c++17", "-fno-exceptions", "-fno-rtti"],
    CPPDEFINES=list(board.get("build.defines").items()),
    LINKFLAGS=[
        *cpu_flags,
        *board.get("build.link_flags"),
        "-Wl,--gc-sections",
        "-Xlinker",
        f"-Map={build_dir}/firmware.map",
    ],
)
if emulated:
    env.Append(CXXFLAGS=["-fno-threadsafe-statics"], LINKFLAGS=["-nostartfiles"])
    # C++ in a library alone: PlatformIO links with gcc, which does not bring C++'s own library.
    env.Append(LIBS=["stdc++", "m"] if any(project_lib.rglob("*.cc")) else [])
    env.Replace(LDSCRIPT_PATH=str(Path(platform.get_dir()).resolve() / "linker.ld"))

built = "nobuild" in COMMAND_LINE_TARGETS
elf = "$BUILD_DIR/${PROGNAME}${PROGSUFFIX}" if built else env.BuildProgram()
AlwaysBuild(env.Alias("nobuild", elf))


def run(target, source, env):
    command = [*board.get("build.run"), str(source[0])]
    print(shlex.join(command), flush=True)
    return subprocess.call(command)


env.AddPlatformTarget("upload", elf, [env.VerboseAction(run, "Running $SOURCE")], "Run", "Run the firmware")
Default([env.Alias("buildprog", elf, elf)])
