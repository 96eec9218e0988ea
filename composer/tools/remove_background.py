"""The tool `remove_background`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from composer.checkpoints.adapter_source import AdapterSource, locate
from composer.checkpoints.fingerprints import file_sha256, file_states
from composer.errors import ComposerError
from composer.loading.check_cache import recall_or
from composer.tools.base import Tool
from composer.tools.upscale_model import WEIGHTS

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIX = ".onnx"


class RemoveBackground(Tool):
    """Make the background of an image transparent, by U²-Net, IS-Net, BiRefNet and models like them.

    https://github.com/danielgatis/rembg lists files.

    Args:
        weights: An ONNX file, a directory with one, or a hub id `owner/name/FILE`.
        revision: Branch, tag or commit at the hub.
        kind: How the model reads images and what it makes: `birefnet`; `rmbg2`, RMBG 2.0; `isnet`, those of DIS;
            `u2net` and its variants for persons.
    """

    def __init__(
        self,
        weights: str | None = None,
        revision: str | None = None,
        kind: Literal["birefnet", "rmbg2", "isnet", "u2net"] = "birefnet",
    ) -> None:
        self.weights, self.revision, self.kind = weights, revision, kind

    def check(self) -> None:
        file = self._file

        def check() -> bool:
            from composer.loading.background import check_file

            return check_file(WEIGHTS, file)

        recall_or("remove_background", file_states(file), check)

    def fingerprint(self) -> str:
        file = self._file
        files = (file, file.with_name(f"{file.name}_data"), file.with_name(f"{file.name}.data"))
        hashes = (file_sha256(one) for one in files if one.is_file())  # large models have a file of tensors beside
        return " ".join([*hashes, f"onnxruntime {version('onnxruntime')}"])

    def run(self, images: Mapping[str, Any], device: str) -> Image:
        from composer.loading.background import foreground

        self.check()
        result: Image = images["image"].copy()
        result.putalpha(foreground(WEIGHTS, self._file, result, self.kind, device))
        return result

    @property
    def _file(self) -> Path:
        if self.weights is None:
            raise ComposerError(WEIGHTS, None, f"a file is needed: {WEIGHTS}=FILE{SUFFIX}")
        if find_spec("onnxruntime") is None:
            reason = "needs the package onnxruntime: pip install 'diffusion-composer[onnx]'"
            raise ComposerError(WEIGHTS, self.weights, reason)
        file = locate(AdapterSource(key=WEIGHTS, file=self.weights, revision=self.revision, suffixes=(SUFFIX,)))
        if file.suffix != SUFFIX:
            raise ComposerError(WEIGHTS, self.weights, f"must be a file {SUFFIX}")
        return file
