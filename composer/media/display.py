"""HTML elements that show media in a notebook, with their data."""

from __future__ import annotations

import base64

from composer.media.formats import FORMATS


def video_element(data: bytes, form: str, size: tuple[int, int]) -> str:
    """Build the element of a clip.

    Args:
        data: Contents of its file.
        form: Format of the file.
        size: Width and height in pixels.

    Returns:
        HTML: a video, or an image for an animation.
    """
    attributes = f'width="{size[0]}" height="{size[1]}" src="{_url(data, form)}"'
    return (
        f"<video controls loop {attributes}></video>"
        if FORMATS[form].mime.startswith("video/")
        else f"<img {attributes}>"
    )


def audio_element(data: bytes, form: str = "wav") -> str:
    """Build the element of a sound.

    Args:
        data: Contents of its file.
        form: Format of the file.

    Returns:
        HTML.
    """
    return f'<audio controls src="{_url(data, form)}"></audio>'


def _url(data: bytes, form: str) -> str:
    return f"data:{FORMATS[form].mime};base64,{base64.b64encode(data).decode()}"
