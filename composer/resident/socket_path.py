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
    "COMPOSER_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "DIFFUSERS_", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "NUMEXPR_",
    "CUDA_", "NVIDIA_", "TORCH", "PYTORCH_", "PYTHON", "HYDRA_", "XDG_", "LD_", "HOME", "TMPDIR", "LANG", "LC_", "TZ",
)  # fmt: skip
#: Bytes of the longest path that every system takes as the address of a socket.
MAX_PATH_BYTES = 100


def folder() -> Path:
    """Return the user's directory of sockets; it is created if missing.

    Returns:
        The directory.

    Raises:
        ComposerError: It belongs to another user, is open to others, is a link, or its path is too long.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base, "composer") if base else Path(tempfile.gettempdir(), f"composer-{os.getuid()}")
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        state = path.lstat()
    except OSError as error:
        raise ComposerError("--warm", None, f"can't make {path}: {error.strerror}") from None
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) & 0o077:
        raise ComposerError("--warm", None, f"{path} must be a folder of yours that nobody else can enter: remove it")
    if len(os.fsencode(path)) + 25 > MAX_PATH_BYTES:
        raise ComposerError(
            "--warm", None, f"{path} is too long for a socket: set XDG_RUNTIME_DIR to a folder nearer the root"
        )
    return path


def key() -> str:
    """Hash what a server must have in common with its client: Python, paths of packages, and the environment.

    Changes of files are detected by the server itself.

    Returns:
        16 hexadecimal digits.
    """
    parts = [sys.executable, __version__, *sys.path[1:]]  # the first is the script's folder or the current one
    parts += [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(LOOKED_AT)]
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]


def address(name: str) -> Path:
    """Return the path of a server's socket.

    Args:
        name: The server's key.

    Returns:
        The path.
    """
    return folder() / f"{name}.sock"
