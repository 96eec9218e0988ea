"""Which files a folder's component is loaded from, and what a checkpoint is by its index."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from zoo import with_json

from composer.checkpoints.component_folder import variants, weight_files
from composer.checkpoints.detection import detect_family
from composer.checkpoints.find import find_checkpoint
from composer.checkpoints.index import component_json, components_of
from composer.config.spec import ModelSpec

WEIGHTS = "diffusion_pytorch_model.safetensors"
#: The pipeline that an index names, on components of a family; the family whose tasks do the same, or None for its own
#: pipeline.
PIPELINES = [
    ("sd", "StableDiffusionPipeline", "sd"),
    ("sd", "StableDiffusionImg2ImgPipeline", "sd"),
    ("sd", "LatentConsistencyModelPipeline", "sd"),
    ("sd_inpaint", "StableDiffusionInpaintPipeline", "sd"),
    ("sd_depth", "StableDiffusionDepth2ImgPipeline", "sd"),
    ("sd", "StableDiffusionSAGPipeline", None),
    ("sd", "StableDiffusionPAGPipeline", None),
    ("sd", "StableDiffusionPanoramaPipeline", None),
    ("sd", "StableDiffusionPipelineSafe", None),
    ("sdxl", "StableDiffusionXLPipeline", "sdxl"),
    ("sdxl", "StableDiffusionXLInpaintPipeline", "sdxl"),
    ("sdxl", "StableDiffusionXLPAGPipeline", None),
    ("sdxl", "StableDiffusionXLInstructPix2PixPipeline", None),
    ("sdxl_refiner", "StableDiffusionXLImg2ImgPipeline", "sdxl"),
    ("sd3", "StableDiffusion3Img2ImgPipeline", "sd3"),
    ("sd3", "StableDiffusion3PAGPipeline", None),
    ("flux", "FluxPipeline", "flux"),
    ("flux", "FluxInpaintPipeline", "flux"),
    ("flux", "FluxKontextPipeline", "flux"),
    ("flux", "FluxKontextInpaintPipeline", None),
    ("flux", "FluxFillPipeline", "flux"),
    ("flux", "FluxControlPipeline", None),
    ("ddpm", "DDIMPipeline", "ddpm"),
    ("ddpm", "ScoreSdeVePipeline", None),
    ("ddpm", "ConsistencyModelPipeline", None),
    ("sd", "unknown", "sd"),
]


@pytest.mark.parametrize(("made_of", "pipeline", "family"), PIPELINES)
def test_the_pipeline_of_the_index_determines_the_family(checkpoints, made_of, pipeline, family):
    folder = checkpoints[made_of]
    classes = {
        name: cls for name, (_, cls) in components_of(json.loads((folder / "model_index.json").read_text())).items()
    }
    configs = {name: config for name in classes if (config := component_json(folder / name))}
    assert detect_family(pipeline, classes, configs) == family


def test_an_edit_model_is_run_by_its_own_pipeline(compose, checkpoints, tmp_path):
    source = Path(shutil.copytree(checkpoints["flux"], tmp_path / "kontext"))
    index = json.loads((source / "model_index.json").read_text())
    (source / "model_index.json").write_text(json.dumps({**index, "_class_name": "FluxKontextInpaintPipeline"}))
    result = find_checkpoint(ModelSpec(name="local", source=str(source)))
    assert (result.family, result.pipe) == ("hosted", "FluxKontextInpaintPipeline")


def test_an_edit_model_says_what_it_is_and_what_img2img_leaves_out(compose, checkpoints, tmp_path):
    source = with_json(
        shutil.copytree(checkpoints["flux"], tmp_path / "kontext"),
        "model_index.json",
        _class_name="FluxKontextPipeline",
    )
    words = ["show", "model=local", f"model.source={source}", "height=32", "width=32"]
    shown = compose(*words)
    assert "saved as FluxKontextPipeline" in shown.out and "and also edit" in shown.out and "note" not in shown.out
    image = ["task=img2img", "image=sample:scene"]
    assert "the model does not look at it: task=edit references=FILE does" in compose(*words, *image).out
    plain = compose("show", *image, "model=local", f"model.source={checkpoints['flux']}")
    assert plain.code == 0 and "task=edit" not in plain.out


@pytest.mark.parametrize(
    ("there", "variant", "read"),
    [
        ([WEIGHTS], None, [WEIGHTS]),
        ([WEIGHTS], "fp16", [WEIGHTS]),
        (["diffusion_pytorch_model.fp16.safetensors"], None, []),
        (["diffusion_pytorch_model.fp16.safetensors"], "fp16", ["diffusion_pytorch_model.fp16.safetensors"]),
        (
            ["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors"],
            None,
            ["diffusion_pytorch_model.safetensors"],
        ),
        (["diffusion_pytorch_model.non_ema.safetensors"], "non_ema", ["diffusion_pytorch_model.non_ema.safetensors"]),
        (["model.safetensors"], None, []),
        (["diffusion_pytorch_model.bin"], None, []),
        (["diffusion_pytorch_model.safetensors.index.json"], None, ["a.safetensors", "b.safetensors"]),
        (["diffusion_pytorch_model.safetensors.index.fp16.json"], "fp16", ["a.safetensors", "b.safetensors"]),
        (["diffusion_pytorch_model.safetensors.index.fp16.json"], None, []),
    ],
)
def test_the_files_are_those_that_the_loader_reads(tmp_path, there, variant, read):
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    for name in there:
        (tmp_path / name).write_text(
            json.dumps({"weight_map": {"y": "b.safetensors", "x": "a.safetensors", "z": "b.safetensors"}})
        )
    assert [file.name for file in weight_files(tmp_path, variant)] == read
    assert variants([tmp_path]) <= {"fp16", "non_ema"}


def test_show_counts_the_weights_that_are_loaded(compose, checkpoints, tmp_path):
    source, name = Path(shutil.copytree(checkpoints["sd"], tmp_path / "both")), "diffusion_pytorch_model"
    plain = source / f"unet/{name}.safetensors"
    half = {key: tensor.half() for key, tensor in load_file(plain).items()}
    save_file(half, source / f"unet/{name}.fp16.safetensors", {"format": "pt"})

    def unet(*words: str) -> str:
        shown = compose("show", "model=local", "height=64", "width=64", *words)
        return next(line for line in shown.out.splitlines() if line.startswith("  unet")).split("  /")[0]

    assert unet(f"model.source={source}") == unet(f"model.source={checkpoints['sd']}")
    assert "F16" in unet(f"model.source={source}", "model.variant=fp16")
    plain.unlink()
    names = sorted(half)
    for n, part in enumerate((names[::2], names[1::2])):
        save_file({key: half[key].float() for key in part}, source / f"unet/{n}.safetensors", {"format": "pt"})
    weight_map = {key: f"{n % 2}.safetensors" for n, key in enumerate(names)}
    (source / f"unet/{name}.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})
    )
    assert unet(f"model.source={source}") == unet(f"model.source={checkpoints['sd']}")
