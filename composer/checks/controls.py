"""Checks of control models and their images against a checkpoint: no weights, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.control_model import KINDS, ControlModel, check_together, find_control
from composer.checks.preprocessors import check_preprocessor
from composer.config.control import image_key, key_of
from composer.config.spec import ControlSpec, RunSpec
from composer.errors import ComposerError
from composer.tasks.img2img import several
from composer.tasks.values import each

#: Most control models of a run.
MOST = 8


def check_controls(spec: RunSpec, checkpoint: Checkpoint) -> Mapping[str, ControlModel]:
    """Find the control models of a run, and refuse those that would not work.

    Args:
        spec: Settings of the run.
        checkpoint: Its checkpoint.

    Returns:
        Control models by name.

    Raises:
        ComposerError: A model is missing, damaged or for another checkpoint, or it lacks an image.
    """
    models: dict[str, ControlModel] = {}
    for name, control in spec.controls.items():
        key = key_of(name)
        _check_settings(key, control, spec)
        _check_checkpoint(key, control, checkpoint)
        models[name] = find_control(key, control, checkpoint)
        component = models[name].component
        if control.revision is not None and component.commit is None and component.folder.is_dir():
            raise ComposerError(f"{key}.revision", control.revision, "is for models at the hub: leave it out")
    if len(models) > MOST:
        raise ComposerError("control", len(models), f"{MOST} control models are the most of a run")
    check_together({key_of(name): model for name, model in models.items()})
    return MappingProxyType(models)


def with_control_images(request: Request, controls: Mapping[str, ControlSpec], images: Any) -> Request:
    """Add the images of the control models to a request.

    Args:
        request: The request.
        controls: Settings of the control models by name.
        images: Number of images for each prompt, as the config has it.

    Returns:
        The request; its inputs have one image for each generated image, under the keys of the config.

    Raises:
        ComposerError: An image can't be read, there are several and not one for each prompt, or the task has
            references.
    """
    from composer.images.reading import read_image

    inputs: dict[str, Any] = {}
    for name, control in controls.items():
        key = image_key(name)
        if "references" in request.inputs:
            reason = "can't be with references, which are among the tokens of the model: omit one of the two"
            raise ComposerError(key_of(name), control.model, reason)
        loaded = [read_image(key, one) for one in several(control.image)]
        inputs[key] = each(key, loaded, request.batch, int(images or 1))
    return replace(request, inputs={**request.inputs, **inputs}) if inputs else request


def _check_settings(key: str, control: ControlSpec, spec: RunSpec) -> None:
    check_preprocessor(key, control.preprocess, control.preprocess_settings)
    if control.preprocess == "canny" and find_spec("cv2") is None:
        reason = "needs the package opencv-python-headless: pip install 'diffusion-composer[control]'"
        raise ComposerError(f"{key}.preprocess", "canny", reason)
    if control.image is None:
        image = spec.values.get("image")
        advice = f"{key}.image={image}" if isinstance(image, str) else f"{key}.image=FILE"
        raise ComposerError(f"{key}.image", None, f"an image to follow is needed: {advice}")


def _check_checkpoint(key: str, control: ControlSpec, checkpoint: Checkpoint) -> None:
    able = sorted({family for kind in KINDS.values() for family in kind.families})
    if checkpoint.engine != "native":
        reason = (
            f"is for native families, and this checkpoint is {checkpoint.engine}: use task=control where it has one"
        )
        raise ComposerError(key, control.model, reason, able)
    if checkpoint.family not in able:
        reason = f"there are no control models for {checkpoint.family} models"
        raise ComposerError(key, control.model, reason, able)
