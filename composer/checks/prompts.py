"""The syntax of a request's prompts: choices are made, what can't be read is refused, and one note names the rest."""

from __future__ import annotations

from dataclasses import replace

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.config.dynamic_prompts import DynamicPrompts
from composer.config.spec import RunSpec
from composer.errors import ComposerError
from composer.families.prompt_weights import check_prompts, has_breaks, parse_prompt, split_breaks
from composer.tasks import marks

#: Families whose text encoders read the parts between BREAK in windows of their own.
WINDOWED = ("sd", "sdxl")


def read_prompts(spec: RunSpec, request: Request, checkpoint: Checkpoint) -> Request:
    """Make the choices in a request's prompts, and check their syntax.

    Args:
        spec: Settings of the run, which name the syntax.
        request: The request, with prompts as they were typed.
        checkpoint: The checkpoint.

    Returns:
        The request with one text for each image, and notes about syntax that is not read.

    Raises:
        ComposerError: A prompt can't be read, or `wildcards` would do nothing.
    """
    if spec.wildcards is not None and not spec.dynamic_prompts:
        raise ComposerError("wildcards", spec.wildcards, "is for prompt_syntax=dynamic: type both, or leave it out")
    syntaxes = [
        name
        for name, is_read in (("dynamic", spec.dynamic_prompts), ("weights", spec.prompt_syntax == "weights"))
        if is_read
    ]
    if not syntaxes:
        return request
    as_text = marks.note((*request.prompts, *request.negative_prompts))
    if spec.dynamic_prompts:
        request = _chosen(spec, request)
    if spec.prompt_syntax == "weights":
        check_prompts(request.prompts, request.negative_prompts)
        _check_breaks(request, checkpoint)
    notes = marks.note((*request.prompts, *request.negative_prompts), syntaxes)
    return replace(request, notes=(*(note for note in request.notes if note not in as_text), *notes))


def plain_prompts(spec: RunSpec, request: Request) -> tuple[str, ...]:
    """Return the prompt of each image without syntax, as a metric compares it with the image.

    Args:
        spec: Settings of the run, which name the syntax.
        request: The request, whose choices are made.
    """
    if spec.prompt_syntax != "weights":
        return request.prompts
    return tuple(
        " ".join(parse_prompt("prompt", part).text for part in split_breaks(prompt)) for prompt in request.prompts
    )


def _chosen(spec: RunSpec, request: Request) -> Request:
    """One text for each image, chosen by its seed; negative prompts choose on their own."""
    prompts, negatives = (DynamicPrompts(spec.wildcards, key) for key in ("prompt", "negative_prompt"))
    pairs = list(zip(request.prompts, request.negative_prompts, request.seeds, strict=True))
    return replace(
        request,
        prompts=tuple(prompts.choose(prompt, seed) for prompt, _, seed in pairs),
        negative_prompts=tuple(text and negatives.choose(text, f"negative {seed}") for _, text, seed in pairs),
    )


def _check_breaks(request: Request, checkpoint: Checkpoint) -> None:
    texts = [text for text in (*request.prompts, *request.negative_prompts) if text and has_breaks(text)]
    if texts and checkpoint.family not in WINDOWED:
        reason = f"BREAK is for models that read by CLIP alone ({', '.join(WINDOWED)}): omit it"
        raise ComposerError("prompt", texts[0], reason)
