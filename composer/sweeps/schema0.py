"""Ids of jobs as composer 0.1 computed them, from module paths: its sweeps can be continued.

Frozen: new parts of a job belong into `job_id`, and moving a class changes nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.checkpoints.fingerprints import are_images, checkpoint_fingerprint, image_fingerprint
from composer.checks.compatibility import Checked
from composer.config.choices import shipped
from composer.config.plugins import provider
from composer.config.spec import Choice
from composer.records.job_id import hash_plain_data, inputs_of_id

#: Module path and class in the package ``composer`` of version 0.1, by group and option.
PATHS: Mapping[str, Mapping[str, str]] = {
    "accel": {
        "attention": "accel.attention.Attention", "channels_last": "accel.layout.ChannelsLast",
        "compile": "accel.compile.Compile", "deepcache": "accel.deepcache.DeepCache",
        "faster_cache": "accel.caches.FasterCache", "first_block_cache": "accel.caches.FirstBlockCache",
        "fused_qkv": "accel.fused.FusedQKV", "magcache": "accel.caches.MagCache", "onnx": "accel.onnx.ONNX",
        "openvino": "accel.openvino.OpenVINO", "pyramid_attention_broadcast": "accel.caches.Broadcast",
        "taylorseer": "accel.caches.TaylorSeer", "tome": "accel.tome.TokenMerging",
    },
    "callbacks": {
        "cfg_cutoff": "callbacks.cfg_cutoff.CfgCutoff",
        "dynamic_threshold": "callbacks.dynamic_threshold.DynamicThreshold",
        "early_stop": "callbacks.early_stop.EarlyStop",
        "guidance_schedule": "callbacks.guidance_schedule.GuidanceSchedule",
        "latents_save": "callbacks.latents_save.LatentsSave", "nan_guard": "callbacks.nan_guard.NanGuard",
        "preview": "callbacks.preview.Preview", "progress": "callbacks.progress.Progress",
        "prompt_switch": "callbacks.prompt_switch.PromptSwitch", "trace": "callbacks.trace.Trace",
    },
    "guidance": {
        "apg": "guiders.Guider", "auto": "guidance.Auto", "autoguidance": "guiders.Guider",
        "cfg": "guidance.ClassifierFree", "cfg_zero": "guiders.Guider", "distilled": "guidance.Distilled",
        "interval": "guidance.Interval", "none": "guidance.Unguided", "pag": "guiders.Guider",
        "seg": "guiders.Guider", "slg": "guiders.Guider", "tcfg": "guiders.Guider",
    },
    "memory": {
        "attention_slicing": "memory.slicing.AttentionSlicing", "auto": "memory.auto.Auto",
        "cpu_text_encoder": "memory.offload.CpuTextEncoder", "group_offload": "memory.offload.GroupOffload",
        "layerwise_casting": "memory.layerwise.LayerwiseCasting",
        "model_offload": "memory.offload.ModelOffload",
        "sequential_offload": "memory.offload.SequentialOffload", "vae_slicing": "memory.slicing.VaeSlicing",
        "vae_tiling": "memory.slicing.VaeTiling", "xformers": "memory.xformers.XFormers",
    },
    "task": {
        "depth2img": "tasks.depth2img.Depth2Img", "img2img": "tasks.img2img.Img2Img",
        "inpaint": "tasks.inpaint.Inpaint", "outpaint": "tasks.outpaint.Outpaint",
        "text2img": "tasks.text2img.Text2Img", "unconditional": "tasks.unconditional.Unconditional",
        "upscale": "tasks.upscale.Upscale", "variations": "tasks.variations.Variations",
    },
}  # fmt: skip
#: Number of samples of each checkpoint file that its fingerprint covered: the first and the last.
SAMPLES = 2


def job_id(checked: Checked) -> str:
    """Compute the id of a job in schema 0.

    Args:
        checked: The job's config, checked against its checkpoint.

    Returns:
        32 hexadecimal digits.
    """
    return hash_plain_data(_job_key(checked))


def _job_key(checked: Checked) -> dict[str, Any]:
    spec, inputs, precision = checked.spec, checked.request.inputs, checked.spec.precision
    images = {key: [image_fingerprint(image) for image in value] for key, value in inputs.items() if are_images(value)}
    refiner = None
    if checked.refiner is not None and spec.model.refiner is not None:
        refiner = [checkpoint_fingerprint(checked.refiner, SAMPLES), spec.model.refiner.start]
    return {
        "task": _target(spec.task),
        "values": {key: value for key, value in spec.values.items() if key not in inputs} | {"pictures": images},
        "settled": inputs_of_id({key: value for key, value in inputs.items() if key not in images}),
        "size": (checked.request.height, checked.request.width),
        "model": checkpoint_fingerprint(checked.checkpoint, SAMPLES),
        "refiner": refiner,
        "scheduler": [_target(spec.scheduler.target), dict(spec.scheduler.keywords)],
        "guidance": _target(spec.guidance),
        "callbacks": [
            [name, _target(target), name in spec.skip_on_error]
            for name, target in spec.callbacks.items()
            if name != "progress"
        ],
        "memory": [_target(target) for target in spec.memory.values()],
        "accel": [_target(target) for target in spec.accel.values()],
        "precision": [
            precision.dtype,
            precision.strict,
            precision.storage,
            precision.vae_upcast,
            dict(precision.components),
        ],
        "device": spec.device,
        "batch": spec.batch,
        "overflow": spec.overflow,
        "output": [spec.output.format, spec.output.quality],
    }


def _target(target: Choice | None) -> Any:
    if target is None:
        return None
    package = provider(target.path)
    return [_path(target), dict(target.keywords), package and str(package)]


def _path(target: Choice) -> str:
    """Path of a class in composer 0.1; of a third-party class its present path."""
    former = PATHS.get(target.group, {}).get(target.name)
    return f"composer.{former}" if former and shipped(target.group, target.name) == target.path else target.path
