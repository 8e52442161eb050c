"""What a latency was measured on: processor, instruction sets, cores, load, versions."""

import os
import platform
from pathlib import Path
from typing import Any

# What decides how fast int8 and fp32 are, as Linux names it on x86 and on ARM.
_INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimddp": "DOTPROD",
    "i8mm": "I8MM",
}
# Each multiplies 8-bit numbers four at a time into 32 bits.
_FAST_INT8 = {"AVX-VNNI", "AVX512-VNNI", "AMX-INT8", "DOTPROD", "I8MM"}
_PACKAGES = ("onnxruntime", "openvino", "tokenizers", "torch", "transformers")


def machine() -> dict[str, Any]:
    """Describes this machine: `cpu`, `instructions`, usable `cores`, `load`, `versions`."""
    known = _processor()
    flags = known.get("flags", known.get("Features", "")).split()
    return {
        "cpu": known.get("model name") or platform.processor() or platform.machine(),
        "instructions": [name for flag, name in _INSTRUCTIONS.items() if flag in flags],
        "cores": cores(),
        # Processes that wanted a core over the last minute.
        "load": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version()} | _versions(),
    }


def cores() -> int:
    """Returns how many cores this process may use."""
    # A container may have fewer than its machine; only Linux knows.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_fast_int8(described: dict[str, Any]) -> bool:
    """Returns whether a machine has instructions for products of 8-bit numbers; without, int8 is for size."""
    return bool(_FAST_INT8 & {*described["instructions"]})


def _processor() -> dict[str, str]:
    """Reads what Linux says of the first core; nothing elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    return {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())
    }


def _versions() -> dict[str, str]:
    # A process that only answers needs no metadata.
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
