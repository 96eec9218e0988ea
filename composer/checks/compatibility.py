"""Checks of a run's settings against its checkpoint, from configs and JSON files alone: no weights, no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from composer.callbacks.request import Request
from composer.checkpoints.checkpoint import Checkpoint
from composer.checkpoints.control_model import ControlModel
from composer.checkpoints.find import find_checkpoint
from composer.checkpoints.layouts import HOSTED, families
from composer.checkpoints.lora_fit import LoraFit
from composer.checks import early
from composer.checks.controls import check_controls, with_control_images
from composer.checks.defaults import recommend
from composer.checks.embeddings import WordVectors, check_embeddings, unused_words
from composer.checks.hosted_task import choose_pipeline, hosted_tasks
from composer.checks.ip_adapters import ImagePrompt, check_ip_adapters
from composer.checks.loras import check_loras
from composer.checks.metrics import check_metrics, final_size
from composer.checks.output import resolve_output
from composer.checks.positions import refuse_beyond
from composer.checks.prompts import plain_prompts, read_prompts
from composer.config.spec import ModelSpec, RunSpec
from composer.config.targets import build
from composer.errors import ComposerError
from composer.metrics.base import Metric
from composer.system.devices import refuse_unavailable
from composer.tasks.base import Task
from composer.tiny import known

#: Prefix of `model.source` for the checkpoint inside this package.
EMBEDDED = "embedded:"
#: The embedded checkpoint that follows instructions.
FLOW = f"{EMBEDDED}flow"
#: Role of a checkpoint → its description, and the tasks that can use it.
ROLES = {
    "plain": ("takes nothing but noisy latents", "text2img, img2img, inpaint, outpaint, variations or upscale"),
    "inpaint": ("takes a mask besides (an inpainting model)", "inpaint or outpaint"),
    "depth": ("takes depth besides (a depth model)", "depth2img"),
    "any": ("is run by its own diffusers pipeline", ""),
    "edit": ("edits images, such as model=tiny_flow, FLUX.1 Kontext, FLUX.2 or Qwen-Image-Edit", "edit"),
    "control": ("has a ControlNet, or takes a control image, such as FLUX.1 Control", "control"),
    "video": ("makes clips, such as Wan or LTX-Video", "text2video"),
    "image2video": ("makes clips that begin with an image, such as Wan's for image to video", "image2video"),
    "audio": ("makes sounds, such as Stable Audio or AudioLDM 2", "text2audio"),
}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Settings that fit their checkpoint.

    Attributes:
        spec: Settings of the run, with default steps and guidance scale filled in.
        checkpoint: The checkpoint.
        task: The task.
        request: The request, with sizes and seeds filled in.
        refiner: Checkpoint that finishes the images; None without one.
        loras: Files of the LoRA with the layers that they change, by name.
        embeddings: Files of the textual inversions with their words, by name.
        controls: Control models by name.
        ip_adapters: Files of the IP-Adapters with their images, by name.
        metrics: What is measured of the finished images, by name.
        lenient: Whether options without an effect are omitted with a note instead of refused, as in a sweep over them.
    """

    spec: RunSpec
    checkpoint: Checkpoint
    task: Task
    request: Request
    refiner: Checkpoint | None = None
    loras: Mapping[str, LoraFit] = field(default_factory=dict)
    embeddings: Mapping[str, WordVectors] = field(default_factory=dict)
    controls: Mapping[str, ControlModel] = field(default_factory=dict)
    ip_adapters: Mapping[str, ImagePrompt] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    lenient: bool = False

    @property
    def at_once(self) -> int:
        """Smallest number of images in a batch; ``batch=auto`` may choose more."""
        count, batch = self.request.batch, self.spec.batch
        if isinstance(batch, int):
            return min(batch, count)
        return count if batch is None else 1


def check(spec: RunSpec, find: Callable[[ModelSpec], Checkpoint] = find_checkpoint) -> Checked:
    """Check a run's settings against its checkpoint.

    Args:
        spec: Settings of the run.
        find: Finds a checkpoint by its settings.

    Returns:
        The checked settings.

    Raises:
        ComposerError: A setting is incompatible; checking stops at the first.
    """
    refuse_unavailable(spec.device)
    task = build("task", spec.task, Task)
    spec = resolve_output(spec, task)
    checkpoint = find(spec.model)
    if checkpoint.family == HOSTED:
        spec, checkpoint = choose_pipeline(spec, task, checkpoint)
    spec = recommend(spec, checkpoint)
    for name, dtype in spec.precision.components.items():
        if name not in checkpoint.classes:
            raise ComposerError(
                f"precision.{name}", dtype, "the model has no such component", sorted(checkpoint.classes)
            )
    _task_fits(spec, task, checkpoint)
    _scheduler_fits(spec, checkpoint)
    early.refuse(spec, checkpoint)
    refiner = _refiner(spec, checkpoint)
    loras, controls = check_loras(spec, checkpoint), check_controls(spec, checkpoint)
    embeddings = check_embeddings(spec, checkpoint)
    ip_adapters = check_ip_adapters(spec, checkpoint)
    request = with_control_images(task.request(spec.values, checkpoint), spec.controls, spec.values.get("images"))
    refuse_beyond(request, checkpoint)
    request = read_prompts(spec, request, checkpoint)
    taught = [of.word for of in embeddings.values()]
    taught += [word for of in loras.values() for word in of.file.trigger_words]
    if checkpoint.source.startswith(EMBEDDED):
        strange = known.note(request.prompts, checkpoint.source == FLOW, taught)
        request = replace(request, notes=(*request.notes, *strange))
    if embeddings:
        request = replace(request, notes=(*request.notes, *unused_words(embeddings, request)))
    request = replace(request, notes=(*request.notes, *_unseen_image(spec, checkpoint)))
    return Checked(
        spec=spec,
        checkpoint=checkpoint,
        task=task,
        request=request,
        refiner=refiner,
        loras=loras,
        embeddings=embeddings,
        controls=controls,
        ip_adapters=ip_adapters,
        metrics=check_metrics(spec.metrics, task.makes, final_size(request), plain_prompts(spec, request)),
    )


def _unseen_image(spec: RunSpec, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Note that a native model which edits by references is not shown the image that a run begins from."""
    if (
        spec.task.name not in ("img2img", "variations")
        or checkpoint.engine != "native"
        or not checkpoint.does(("edit",))
    ):
        return ()
    return (
        "image: the run begins from it with noise, and the model does not look at it: task=edit references=FILE does",
    )


def _task_fits(spec: RunSpec, task: Task, checkpoint: Checkpoint) -> None:
    name, info = spec.task.name, checkpoint.family_info
    if checkpoint.family == HOSTED and task.pipeline_kind is not None:
        return
    if task.conditioned_on != info.conditioned_on:
        takes = "wants a prompt" if info.takes_prompt else f"takes {info.conditioned_on or 'no prompt'}"
        raise ComposerError(
            "task", name, f"the model {spec.model.name} ({checkpoint.family}) {takes}: use task={tasks_of(checkpoint)}"
        )
    if checkpoint.does(task.roles):
        return
    needs, takes, advice = ROLES[task.roles[0]][0], ROLES[checkpoint.role][0], tasks_of(checkpoint)
    raise ComposerError(
        "task", name, f"wants a model that {needs}, and {spec.model.name} {takes}: use task={advice}, or another model"
    )


def tasks_of(checkpoint: Checkpoint) -> str:
    """Return the tasks that a checkpoint supports, as a phrase.

    Args:
        checkpoint: The checkpoint.
    """
    if checkpoint.family == HOSTED:
        return " or ".join(hosted_tasks(checkpoint)) or "none"
    if checkpoint.family_info.takes_prompt:
        also = [name for name in ("edit", "image2video") if name != checkpoint.role and checkpoint.does((name,))]
        return ", and also ".join([ROLES[checkpoint.role][1], *also])
    of = checkpoint.family_info.conditioned_on
    return f"one that is conditioned on {of}" if of else "unconditional"


def _scheduler_fits(spec: RunSpec, checkpoint: Checkpoint) -> None:
    expected, given = checkpoint.scheduler_type, spec.scheduler.kind
    if given is not None and given != expected:
        words = {"flow": "flow matching", "edm": "EDM", "diffusion": "diffusion"}
        name = spec.options.get("scheduler") or "default"
        advice = (
            "one whose name starts with flow_"
            if expected == "flow"
            else "default, euler, ddim or dpmpp_2m"
            if expected == "diffusion"
            else "edm_euler"
        )
        raise ComposerError(
            "scheduler",
            name,
            f"is for {words[given]} models, and {spec.model.name} is a {words[expected]} model: use {advice}",
        )


def _refiner(spec: RunSpec, checkpoint: Checkpoint) -> Checkpoint | None:
    """Find the refiner's checkpoint, if one is requested."""
    refiner = spec.model.refiner
    if refiner is None:
        return None
    if not checkpoint.family_info.has_refiner:
        able = " and ".join(name for name, info in families().items() if info.has_refiner)
        reason = f"only {able} models have a refiner, and {spec.model.name} is of the family {checkpoint.family}"
        raise ComposerError("model.refiner", refiner.source, reason)
    source_only = isinstance((spec.config.get("model") or {}).get("refiner"), str)  # typed as model.refiner=SOURCE
    model = ModelSpec(
        name="refiner",
        source=refiner.source,
        revision=refiner.revision,
        variant=refiner.variant,
        allow_pickle=spec.model.allow_pickle,
    )
    try:
        second = find_checkpoint(model)
    except ComposerError as error:
        key, reason = (
            re.sub(r"\bmodel\.(?=source|variant|revision)", "model.refiner.", text)
            for text in (error.key, error.reason)
        )
        if source_only:
            key, reason = (text.replace("model.refiner.source", "model.refiner") for text in (key, reason))
        raise ComposerError(key, error.value, reason, error.allowed) from None
    if (second.family, second.role) != (checkpoint.family, "plain"):
        raise ComposerError(
            "model.refiner.source",
            refiner.source,
            f"is no {checkpoint.family} checkpoint that goes on with latents alone",
        )
    if second.vae_scale_factor != checkpoint.vae_scale_factor:
        raise ComposerError(
            "model.refiner.source", refiner.source, "its latents are of another size than the base model's"
        )
    return second
