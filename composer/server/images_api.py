"""OpenAI's images API: its fields to overrides, and a job's images to its answer.

https://platform.openai.com/docs/api-reference/images
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from composer.config.overrides import quote
from composer.errors import ComposerError
from composer.images.reading import is_partly_transparent
from composer.server.queue import QueuedJob
from composer.server.requested_words import MAX_CHARACTERS, UPLOAD

#: Field → the override that it becomes; further fields of ours, which clients send as `extra_body`.
FIELDS = {
    "n": "images", "seed": "seed", "steps": "steps", "guidance": "guidance", "scheduler": "scheduler",
    "strength": "strength", "output_format": "output", "output_compression": "output.quality",
}  # fmt: skip
#: Field → values without an effect here, which clients send as defaults; other values are refused.
WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "quality": (None, "auto", "standard"), "style": (None, "auto"), "background": (None, "auto", "opaque"),
    "moderation": (None, "auto"), "stream": (None, False), "partial_images": (None, 0), "input_fidelity": (None, "low"),
}  # fmt: skip
OTHERS = ("model", "prompt", "negative_prompt", "size", "response_format", "user", "overrides")
FORMATS = ("b64_json", "url")


def generation_words(fields: Mapping[str, Any]) -> list[str]:
    """Convert the fields of a request for images from a prompt.

    Args:
        fields: Field → value.

    Returns:
        Overrides as a client of the command line would type them.

    Raises:
        ComposerError: A field is unknown, missing, of a wrong type, or asks for something that there is not.
    """
    known = (*OTHERS, *FIELDS, *WITHOUT_EFFECT)
    for name, value in fields.items():
        if name not in known:
            raise ComposerError(name, value, "there is no such field; any setting goes into overrides", known)
        if name in WITHOUT_EFFECT and value not in WITHOUT_EFFECT[name]:
            raise ComposerError(name, value, "has no effect here: leave it out", WITHOUT_EFFECT[name])
    if fields.get("response_format", "b64_json") not in (*FORMATS, None):
        raise ComposerError("response_format", fields["response_format"], "is not known", FORMATS)
    words = [f"prompt={_text('prompt', fields.get('prompt'))}"]
    if fields.get("negative_prompt") is not None:
        words.append(f"negative_prompt={_text('negative_prompt', fields['negative_prompt'])}")
    if fields.get("model") is not None:
        words.append(f"model={_word('model', fields['model'])}")
    words += size_words(fields.get("size"))
    words += [f"{key}={_word(name, fields[name])}" for name, key in FIELDS.items() if fields.get(name) is not None]
    further = fields.get("overrides") or []
    if not isinstance(further, list) or not all(isinstance(word, str) for word in further):
        raise ComposerError("overrides", None, 'must be a list of words, such as ["callbacks=[trace]"]')
    return [*words, *further]


def edit_words(fields: Mapping[str, Any], images: Sequence[str], mask: str | None, uploads: Path) -> list[str]:
    """Convert the fields of a request that changes an image.

    OpenAI's masks are transparent where an image is to change, and composer's are white or opaque there.

    Args:
        fields: Field → value, without those of files.
        images: Uploads of the images.
        mask: Upload of the mask; None without one, when transparent parts of the image are repainted.
        uploads: Directory of uploaded images.

    Returns:
        Overrides: inpainting with a mask, else img2img.

    Raises:
        ComposerError: As `generation_words`; or there is no image, or there are several.
    """
    if len(images) != 1:
        raise ComposerError(
            "image", len(images) or None, "one image is needed: for several send overrides with task=edit"
        )
    words = generation_words(fields)
    if any(word.startswith("task=") for word in words):
        return [*words, f"image={images[0]}"]

    def has_hole(name: str) -> bool:
        return is_partly_transparent("mask", str(uploads / name.removeprefix(UPLOAD)))

    if mask is None and has_hole(images[0]):
        mask = images[0]
    if mask is None:
        return ["task=img2img", f"image={images[0]}", *words]
    invert = ["invert_mask=true"] if has_hole(mask) else []
    return ["task=inpaint", f"image={images[0]}", f"mask={mask}", *invert, *words]


def size_words(size: Any) -> list[str]:
    """Convert a size such as `512x512`.

    Args:
        size: The field; None and `auto` are the model's own size.
    """
    if size in (None, "auto"):
        return []
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size) if isinstance(size, str) else None
    if match is None:
        raise ComposerError("size", size, "must be WIDTHxHEIGHT in pixels, such as 512x512, or auto")
    return [f"width={match[1]}", f"height={match[2]}"]


def images_body(job: QueuedJob, folder: Path, form: str, address: Callable[[str], str]) -> dict[str, Any]:
    """Answer with the images of a job.

    Args:
        job: A job that is done.
        folder: Directory of its files.
        form: `b64_json` or `url`.
        address: Path of a file → its address.

    Returns:
        The answer as OpenAI's API has it, with the job's id.
    """
    names = [name for name in job.files if name[:3].isdigit() and name.count(".") == 1]
    if form == "url":
        data = [{"url": address(f"/files/{job.id}/{name}")} for name in names]
    else:
        data = [{"b64_json": base64.b64encode((folder / name).read_bytes()).decode()} for name in names]
    return {"created": int(job.created), "data": data, "job": job.id}


def _text(key: str, value: Any) -> str:
    """A text as one quoted string, whatever marks are in it."""
    if not isinstance(value, str):
        raise ComposerError(key, None if value is None else str(value), "must be a text")
    if len(value) > MAX_CHARACTERS:
        raise ComposerError(key, value, f"has {len(value)} characters: at most {MAX_CHARACTERS} are read")
    return quote(value)


def _word(key: str, value: Any) -> str:
    """A single value, which must not become something else in the grammar of overrides."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (str, int, float))
        or not re.fullmatch(r"[\w.+-]{1,100}", str(value))
    ):
        raise ComposerError(key, str(value), "must be a name or a number")
    return str(value)
