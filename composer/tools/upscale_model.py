"""The tool `upscale_model`: models that enlarge or restore images."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from composer.checkpoints.adapter_source import AdapterSource, locate
from composer.checkpoints.fingerprints import file_sha256, file_states
from composer.checkpoints.headers import SAFETENSORS, check_pickle, read_header
from composer.errors import ComposerError
from composer.loading.check_cache import recall_or
from composer.system.constraints import Gt, Interval
from composer.tools.base import Tool
from composer.tools.resize import MAX_SIDE, within

if TYPE_CHECKING:
    from PIL.Image import Image

WEIGHTS = "tool.weights"
#: Suffixes of files. A pickled one is read by spandrel's own reader, which builds nothing but tensors.
SUFFIXES = (SAFETENSORS, ".pth")


class UpscaleModel(Tool):
    """Enlarge or restore an image by a model such as ESRGAN, SwinIR, HAT or DAT. https://github.com/chaiNNer-org/spandrel

    Args:
        weights: A file, a directory with one, or a hub id `owner/name/FILE`.
        revision: Branch, tag or commit at the hub.
        factor: Factor of both sides, to which the model's result is scaled; None for the model's own.
        tile: Side of the squares that are enlarged one by one, in pixels of the image; None for all at once.
        overlap: Pixels around each square that the model sees too.
        dtype: What it computes in.
    """

    def __init__(
        self,
        weights: str | None = None,
        revision: str | None = None,
        factor: Annotated[float, Gt(0)] | None = None,
        tile: Annotated[int, Interval(ge=16, le=MAX_SIDE)] | None = 512,
        overlap: Annotated[int, Interval(ge=0, le=256)] = 32,
        dtype: Literal["fp32", "fp16", "bf16"] = "fp32",
    ) -> None:
        self.weights, self.revision, self.factor = weights, revision, factor
        self.tile, self.overlap, self.dtype = tile, overlap, dtype

    def check(self) -> None:
        if self.dtype not in self._traits["dtypes"]:
            reason = f"{self._traits['architecture']} can't compute in it"
            raise ComposerError("tool.dtype", self.dtype, reason, self._traits["dtypes"])

    def size(self, width: int, height: int) -> tuple[int, int]:
        factor = self.factor or self._traits["scale"]
        return within((round(width * factor), round(height * factor)), factor)

    def fingerprint(self) -> str:
        from importlib.metadata import version

        return f"{file_sha256(self._file)} spandrel {version('spandrel')}"

    def run(self, images: Mapping[str, Any], device: str) -> Image:
        from PIL.Image import Resampling

        from composer.loading.upscaling import enlarge

        image = images["image"]
        result: Image = enlarge(WEIGHTS, self._file, image, self.dtype, device, self.tile, self.overlap)
        size = self.size(*image.size)
        return result if result.size == size else result.resize(size, Resampling.LANCZOS)

    @property
    def _file(self) -> Path:
        """The file of weights; the package is missing before anything is downloaded."""
        if self.weights is None:
            raise ComposerError(WEIGHTS, None, f"a file is needed: {WEIGHTS}=FILE, {' or '.join(SUFFIXES)}")
        if find_spec("spandrel") is None:
            reason = "needs the package spandrel: pip install 'diffusion-composer[upscale]'"
            raise ComposerError(WEIGHTS, self.weights, reason)
        source = AdapterSource(key=WEIGHTS, file=self.weights, revision=self.revision, suffixes=SUFFIXES)
        file = locate(source)
        if file.suffix not in SUFFIXES:
            raise ComposerError(WEIGHTS, self.weights, f"must be a file {' or '.join(SUFFIXES)}")
        read_header(file, WEIGHTS) if file.suffix == SAFETENSORS else check_pickle(file, WEIGHTS)
        return file

    @property
    def _traits(self) -> dict[str, Any]:
        """What the model is; the file is read once, and the answer is kept."""
        file = self._file

        def read() -> dict[str, Any]:
            from composer.loading.upscaling import traits

            return traits(WEIGHTS, file)

        result: dict[str, Any] = recall_or("upscale_model", file_states(file), read)
        return result
