"""The base class of tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from PIL.Image import Image


class Tool:
    """A step of a recipe that makes an image, a mask or a text of images and texts. It is a group of options, `tool`.

    Its settings are the keywords of its constructor, checked by their annotations. It is called for one image at a
    time. The same settings and images must always give the same result, since results are stored and reused. A module
    with a tool imports no torch at import time, since settings are checked without it.

    Attributes:
        inputs: Keys of the images that it takes; `prompt` and `negative_prompt` are texts. A tool that makes an image
            or a mask takes at least one image.
        makes: What it makes: `image`, `mask` (white is what is meant) or `text`.

    Example:
        >>> class Mirror(Tool):
        ...     def run(self, images, device):
        ...         return images["image"].transpose(0)
    """

    inputs: ClassVar[tuple[str, ...]] = ("image",)
    makes: ClassVar[Literal["image", "mask", "text"]] = "image"

    def check(self) -> None:
        """Refuse what could not run, before any step runs: a missing library, or weights of another kind.

        It is called before `size` and `fingerprint`, for `compose check` too. What needs a heavy library is imported
        inside.

        Raises:
            ComposerError: The tool cannot run with its settings.
        """

    def size(self, width: int, height: int) -> tuple[int, int] | None:
        """Compute the size of the result, by which later steps are checked before any step runs.

        Args:
            width: Width of the first image in pixels.
            height: Height of the first image in pixels.

        Returns:
            Width and height in pixels; None if only the image itself determines them.

        Raises:
            ComposerError: An image of this size cannot be used.
        """
        return width, height

    def fingerprint(self) -> str:
        """Identify the content of files that the tool reads besides its inputs, such as weights.

        Returns:
            A hash; empty if it reads none.

        Raises:
            ComposerError: A file is missing.
        """
        return ""

    def run(self, images: Mapping[str, Any], device: str) -> Image | str:
        """Make the result of one image.

        Args:
            images: An RGB image, or a text, of each key in `inputs`; they must not be changed.
            device: Name of the run's device, such as `cpu` or `cuda`, for tools with models of their own.

        Returns:
            An image of mode RGB, RGBA or L, or a text.

        Raises:
            ComposerError: The images cannot be used.
        """
        raise NotImplementedError(f"{type(self).__name__} does nothing yet")
