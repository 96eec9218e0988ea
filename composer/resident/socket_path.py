"""Where client and server meet: a socket in a folder that nobody else can enter, named after all that makes servers
differ.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from composer.errors import ComposerError
from composer.version import __version__

#: Beginnings of environment variables that libraries look at when they are imported, or that say where things are.
LOOKED_AT = (
    "COMPOSER_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "DIFFUSERS_", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "NUMEXPR_", "CUDA_", "NVIDIA_",
    "TORCH", "PYTORCH_", "PYTHON", "HYDRA_", "XDG_", "LD_", "HOME", "TMPDIR", "LANG", "LC_", "TZ",
)  # fmt: skip
#: Bytes that every system's address of a socket has room for.
LONGEST = 100


def folder() -> Path:
    """The user's own, made where it is missing.

    Raises:
        ComposerError: it is there, but is somebody else's, open to others, or a link; or its name is too long.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base, "composer") if base else Path(tempfile.gettempdir(), f"composer-{os.getuid()}")
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ComposerError("--warm", None, f"can't make {path}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ComposerError("--warm", None, f"{path} must be a folder of yours that nobody else can enter: remove it")
    if len(os.fsencode(path)) + 25 > LONGEST:
        raise ComposerError(
            "--warm", None, f"{path} is too long for a socket: set XDG_RUNTIME_DIR to a folder nearer the root"
        )
    return path


def key() -> str:
    """What a server must have in common with the command that asks it: Python, where it finds packages, the
    environment.

    What changes in files while the server lives, it finds itself.
    """
    told = [sys.executable, __version__, *sys.path[1:]]  # the first is the script's folder or the current one
    told += [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(LOOKED_AT)]
    return hashlib.sha256("\0".join(told).encode(errors="surrogateescape")).hexdigest()[:16]


def address(name: str) -> Path:
    return folder() / f"{name}.sock"
