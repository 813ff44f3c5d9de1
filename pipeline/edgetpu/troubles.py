"""What goes wrong with the Edge TPU, in the words of those who say so, and what helps.

One table for the compiler's messages, one for the runtime's: the compiler wrapper, the deployment and the runner on the
board read them, and docs/edgetpu.md is rendered from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Trouble:
    """One known trouble.

    kind: its name. says: a text that the compiler or the runtime prints, as an example. pattern: a regular expression
    that knows it, "" where something else than a text gives it away. again: the same command may succeed next time.
    """

    kind: str
    says: str
    pattern: str
    cause: str
    remedy: str
    again: bool = False


_VERSION = "versions of ops that compiler 16 does not know come from converters newer than about TensorFlow 2.6"

COMPILER: tuple[Trouble, ...] = (
    Trouble(
        "op-version",
        "Didn't find op for builtin opcode 'CONV_2D' version '6'. ... Model could not be parsed",
        r"Didn't find op for builtin opcode '(?P<op>\w+)' version '(?P<version>\d+)'",
        f"the converter is newer than the compiler: {_VERSION}.",
        "`tensorflash edgetpu fix` lowers versions whose newer features are unused; a grouped convolution, a "
        "transposed one with a fused activation and nearest-neighbour upsampling need another layer.",
    ),
    Trouble(
        "already-compiled",
        "Model already compiled. / edgetpu-custom-op",
        r"edgetpu-custom-op|already (been )?compiled",
        "this is a compiled model.",
        "compile the .tflite that it was made from; `tensorflash edgetpu inspect` reads the compiled one.",
    ),
    Trouble(
        "unparsable",
        "Model could not be parsed",
        r"could not be parsed|Could not open|Invalid argument: .{0,200}flatbuffer|not a (valid )?(flatbuffer|TFLite)",
        "the file is damaged, or is no TFLite model.",
        "`tensorflash inspect` says what is wrong with it; convert the model again.",
    ),
    Trouble(
        "not-quantized",
        "Invalid model: m.tflite / Model not quantized",
        r"Model not quantized|Invalid model",
        "float ops are left.",
        "full-integer conversion: a representative dataset, TFLITE_BUILTINS_INT8, int8 inputs and outputs.",
    ),
    Trouble(
        "dynamic-shape",
        "Attempting to use a delegate that only supports static-sized tensors / Model failed in Tflite interpreter",
        r"static-sized tensors|failed in Tflite interpreter|dynamic-sized tensors",
        "a tensor has no fixed size.",
        "`tensorflash edgetpu fix` sets the batch to 1; in the model, write sizes out instead of computing them "
        "(no SHAPE chains).",
    ),
    Trouble(
        "large-activation",
        "Compilation failed due to large activation tensors in model.",
        r"large activation tensors",
        "an activation is larger than the chip's memory.",
        "a smaller input, `--segments`, or the search for a partition (the compiler's -d, which is tried).",
    ),
    Trouble(
        "too-many-segments",
        "Invalid num_segments: ...",
        r"num_segments|number of segments|[Nn]ot enough (operations|ops)",
        "the model cannot be cut into so many segments.",
        "a smaller `--segments`.",
    ),
    Trouble(
        "unsupported-type",
        "Operation is working on an unsupported data type",
        r"unsupported data type",
        "an op works on something else than int8 or uint8.",
        "int8 or uint8 inputs and outputs; keep integer arithmetic (int32, int64) out of the model.",
    ),
    Trouble(
        "internal",
        "Internal compiler error. Aborting!",
        r"Internal compiler error|std::out_of_range|terminate called|Check failed|[Ss]egmentation fault|core dumped",
        "the compiler has a fault of its own; on the same file it may succeed the next time.",
        "it is tried again, and then with the search for a partition (-d); cut the model with --cut if that fails.",
        again=True,
    ),
    Trouble(
        "timeout",
        "Compilation failed: timeout / the process had to be stopped",
        r"[Cc]ompilation (process )?timed out|failed: timeout|[Ee]xceeded (the )?timeout",
        "the compiler did not end.",
        "a longer `--timeout`; a smaller model, or `--segments`.",
    ),
    Trouble(
        "silent",
        "Compilation failed!",
        r"",
        "the compiler gave up without a reason; on the same file it may succeed the next time.",
        "it is tried again, and then with the search for a partition (-d); cut the model with --cut if that fails.",
        again=True,
    ),
)

STATUS: tuple[Trouble, ...] = (
    Trouble(
        "mapped",
        "Mapped to Edge TPU",
        r"Mapped to Edge TPU",
        "the op runs on the Edge TPU.",
        "nothing to do.",
    ),
    Trouble(
        "second-subgraph",
        "More than one subgraph is not supported",
        r"More than one subgraph",
        "an op before it stays on the CPU, and the compiler maps one part of the graph only.",
        "repair the first op that is not mapped; this one follows.",
    ),
    Trouble(
        "status-version",
        "Operation version not supported",
        r"version not supported",
        "the op's version is newer than the compiler; one op that needs it lifts the version of all its kind.",
        "`tensorflash edgetpu fix` splits or lowers versions.",
    ),
    Trouble(
        "status-type",
        "Operation is working on an unsupported data type",
        r"unsupported data type",
        "the op works on something else than int8 or uint8.",
        "int8 or uint8 tensors all along.",
    ),
    Trouble(
        "status-rank",
        "Tensor has unsupported rank (up to 3 innermost dimensions mapped)",
        r"unsupported rank",
        "more than the three innermost dimensions are larger than 1.",
        "batch 1, and reshape to at most three dimensions.",
    ),
    Trouble(
        "status-constant",
        "Filter, bias, or other param is not constant at compile-time",
        r"not constant at compile-time",
        "a weight of the op is computed, or is an input.",
        "make it a constant of the model.",
    ),
    Trouble(
        "status-limitation",
        "Operation is otherwise supported, but not mapped due to some unspecified limitation",
        r"unspecified limitation",
        "a limit of size or of parameters that is not documented for this op.",
        "shrink the layer, or cut the model before it with --cut.",
    ),
    Trouble(
        "status-two-dimensions",
        "For example, a fully-connected or softmax layer with 2D output",
        r"layer with 2D output",
        "the op works on several vectors at once, which this compiler does for one only.",
        "a batch of 1; for a dense layer along a sequence, a 1x1 convolution.",
    ),
    Trouble(
        "status-unsupported",
        "Operation not supported",
        r"not supported",
        "the Edge TPU has no such op.",
        "replace the layer, or move it to the end of the model, where the CPU may do it.",
    ),
)

RUNTIME: tuple[Trouble, ...] = (
    Trouble(
        "interpreter-missing",
        "ModuleNotFoundError: No module named 'tflite_runtime'",
        r"No module named '(tflite_runtime|ai_edge_litert|numpy)",
        "the board's Python has no TensorFlow Lite interpreter.",
        "on the board: `sudo apt-get install python3-tflite-runtime`, or `pip install -r requirements.txt`. "
        "No package called pycoral from pip: that is something else.",
    ),
    Trouble(
        "library-missing",
        "OSError: libedgetpu.so.1: cannot open shared object file: No such file or directory",
        r"libedgetpu\S*: cannot open shared object file",
        "Google's runtime library is not installed.",
        "`sudo apt-get install libedgetpu1-std` from Coral's repository, or a build of libedgetpu for your TFLite.",
    ),
    Trouble(
        "abi-mismatch",
        "undefined symbol / version `GLIBC_2.34' not found / wrong ELF class / the process died",
        r"undefined symbol|GLIBC(XX)?_\S+' not found|CXXABI_\S+' not found|wrong ELF class|invalid ELF header"
        r"|cannot enable executable stack|multiarray failed to import|compiled against (ABI|API) version"
        r"|compiled using NumPy 1\.x|numpy\.dtype size changed",
        "libedgetpu, the TFLite interpreter and NumPy were built for other versions of each other or of the system.",
        "take the interpreter and libedgetpu from one source: both from Coral's repository, or libedgetpu built "
        "against the TFLite that is installed; NumPy below 2 for tflite-runtime.",
    ),
    Trouble(
        "no-device",
        "ValueError: Failed to load delegate from libedgetpu.so.1 (with no cause)",
        r"",
        "the library is there, but finds no Edge TPU: neither USB 1a6e:089a or 18d1:9302, nor a PCIe node /dev/apex_0.",
        "plug it in; another cable or a powered hub; `lsusb` and `lspci -d 1ac1:` show what the system sees.",
    ),
    Trouble(
        "usb-permission",
        "ValueError: Failed to load delegate from libedgetpu.so.1 (the USB device is there)",
        r"",
        "the Edge TPU is on USB, but this user may not open it.",
        "`sudo usermod -aG plugdev $USER`, log in again, plug it in again; the udev rule comes with libedgetpu1-std.",
    ),
    Trouble(
        "pcie-permission",
        "ValueError: Failed to load delegate from libedgetpu.so.1 (/dev/apex_0 is there)",
        r"",
        "/dev/apex_0 is there, but this user may not open it.",
        "`sudo usermod -aG apex $USER` with a udev rule that gives /dev/apex_* to that group, and log in again.",
    ),
    Trouble(
        "pcie-driver",
        "ValueError: Failed to load delegate from libedgetpu.so.1 (PCI device 1ac1:089a, no /dev/apex_0)",
        r"",
        "the Edge TPU is on PCIe, but its driver is not loaded.",
        "install gasket-dkms and load the module apex; `lspci -d 1ac1: -k` shows the driver.",
    ),
    Trouble(
        "device-failed",
        "ValueError: Failed to load delegate from libedgetpu.so.1 (the device is there and may be opened)",
        r"",
        "the Edge TPU is there, but did not start: another process holds it, or it lacks power.",
        "end what uses it, plug it in again, and use a powered hub.",
    ),
    Trouble(
        "runtime-too-old",
        "Package requires runtime version (14), which is newer than this runtime version (13)",
        r"requires runtime version \((?P<needed>\d+)\), which is newer than this runtime version \((?P<found>\d+)\)",
        "the model was compiled for a newer runtime than the board's libedgetpu.",
        "update libedgetpu, or compile with `--min-runtime-version` of the one that is there.",
    ),
    Trouble(
        "no-delegate",
        "RuntimeError: Encountered unresolved custom op: edgetpu-custom-op",
        r"unresolved custom op: edgetpu-custom-op",
        "a compiled model was loaded without the Edge TPU's delegate.",
        "load it with libedgetpu's delegate, as run_model.py does.",
    ),
    Trouble(
        "edited",
        "run_model.py: SHA256SUMS: model.tflite is not what was written",
        r"is not what was written|does not belong to the bundle|is missing from the bundle|SHA256SUMS",
        "a file of the bundle was changed, added or lost after its hashes were taken.",
        "deploy the bundle again; to change it, change the recipe and run it again.",
    ),
    Trouble(
        "out-of-memory",
        "MemoryError / Killed",
        r"MemoryError|Cannot allocate memory|std::bad_alloc",
        "the board has too little memory for the model or for so many samples.",
        "fewer samples, or a smaller model.",
    ),
)

SSH: tuple[Trouble, ...] = (
    Trouble(
        "host-key-changed",
        "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!",
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the board has another host key than the one you know: it was set up anew, or something else answers.",
        "make sure that it is your board; then `ssh-keygen -R HOST`, and `ssh HOST` once to accept the new key.",
    ),
    Trouble(
        "host-key-unknown",
        "Host key verification failed.",
        r"Host key verification failed|host key is known for",
        "this computer does not know the board's host key.",
        "`ssh HOST` once, compare the fingerprint that it shows with the board's, and accept it.",
    ),
    Trouble(
        "denied",
        "user@board: Permission denied (publickey).",
        r"Permission denied|Too many authentication failures",
        "the board does not let this user in with a key.",
        "`ssh-copy-id HOST`, or for a new Dev Board `mdt genkey` and `mdt pushkey`.",
    ),
    Trouble(
        "unreachable",
        "ssh: connect to host board port 22: Connection refused / timed out / No route to host",
        r"Connection (refused|timed out|reset|closed)|No route to host|Network is unreachable|[Cc]ould not resolve"
        r"|Operation timed out",
        "the board cannot be reached.",
        "check its power, its cable and its address; `ssh HOST true` has to work.",
    ),
    Trouble(
        "disk-full",
        "tar: model.tflite: Wrote only 4096 of 10240 bytes / No space left on device",
        r"No space left on device|Disk quota exceeded|Wrote only \d+ of",
        "the board's disk is full.",
        "remove old bundles there (`rm -r tensorflash`), or give another folder.",
    ),
)


def explain(text: str, table: Iterable[Trouble]) -> Trouble | None:
    """The first trouble of a table whose pattern is found in a text, or None."""
    return next((t for t in table if t.pattern and re.search(t.pattern, text)), None)


def by_kind(kind: str, table: Iterable[Trouble]) -> Trouble:
    """The trouble of that name.

    Raises:  KeyError: there is none.
    """
    for trouble in table:
        if trouble.kind == kind:
            return trouble
    raise KeyError(kind)


def markdown() -> str:
    """The troubleshooting tables of docs/edgetpu.md."""
    parts = []
    for title, table in (
        ("What the compiler says", COMPILER),
        ("What the compiler's log says of an op", STATUS),
        ("What the board says", RUNTIME),
        ("What ssh says", SSH),
    ):
        rows = [f"| {_code(t.says)} | {_cell(t.cause)} | {_cell(t.remedy)} |" for t in table if t.kind != "mapped"]
        parts.append("\n".join([f"### {title}", "", "| Message | Cause | What helps |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`` {_cell(text)} ``" if "`" in text else f"`{_cell(text)}`"
