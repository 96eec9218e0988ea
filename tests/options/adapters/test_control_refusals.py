"""Control models that do not fit, images that are missing and settings without an effect: refused before weights
load.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import diffusers as d
import numpy as np
import pytest
import torch
from control_models import KINDS, randomised
from PIL import Image
from safetensors.torch import save_file

from composer.errors import ComposerError


def checked(source: Path, *words: str):
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read
    from composer.pipelines.build import parts

    words = words if any(word.startswith(("prompt", "task")) for word in words) else ("prompt=x", *words)
    result = check(read(compose_config(["model=local", f"model.source={source}", *words])))
    parts(result)
    return result


def refusal(source: Path, *words: str) -> str:
    with pytest.raises(ComposerError) as error:
        checked(source, *words)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def nets(tmp_path_factory, checkpoints):
    """A model of each kind, whose weights are never read, and an image."""
    root = tmp_path_factory.mktemp("nets")
    for kind in ("sd", "sdxl", "sdxl_union", "sd3", "flux", "qwen_image", "z_image", "sd_t2i", "sdxl_t2i"):
        KINDS[kind].net(KINDS[kind].base()).save_pretrained(root / kind)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(root / "a.png")
    return root


def altered(nets: Path, kind: str, **settings) -> Path:
    """A model with other settings in its config.json."""
    folder = nets / f"{kind}-{'-'.join(settings)}"
    shutil.copytree(nets / kind, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    return folder


#: Family of the checkpoint, kind of the model, settings that are changed → the reason.
MISFITS = {
    ("sd", "sdxl", ()): "has 64 channels of prompt_embeds, and this model 32: it is for another base model",
    ("sd", "sd3", ()): "is a SD3ControlNetModel for sd3 models, and this model is of the family sd",
    ("sd", "flux", ()): "for flux models, and this model is of the family sd",
    ("sdxl", "sd", ()): "and this model",
    ("sd3", "sd", ()): "is a ControlNetModel for sd and sdxl models, and this model is of the family sd3",
    ("flux", "z_image", ()): "for z_image models",
    ("sd", "sdxl_union", ()): "for sdxl models",
    ("sdxl", "sdxl_union", ()): "is a union of 2 control models: say what the image shows, control.mode=canny",
    ("sd", "sd_t2i", ()): "is a full_adapter, whose features don't fit the blocks of this model's UNet",
    ("sdxl", "sd_t2i", ()): "is a full_adapter, whose features don't fit",
    ("sd", "sd", (("cross_attention_dim", 64),)): "has 64 channels of prompt_embeds, and this model 32",
    ("sd", "sd", (("block_out_channels", (16, 48)),)): "has 16, 48 channels of its blocks, and this model 16, 32",
    ("sd", "sd", (("layers_per_block", 2),)): "has 2 layers to a block, and this model 1",
    ("sd", "sd", (("in_channels", 8),)): "has 8 latent channels, and this model 4",
    ("sd", "sd", (("_class_name", "AutoencoderKL"),
            )): "is a AutoencoderKL, which controls nothing (allowed: ControlNet",
    ("sdxl", "sdxl_t2i", (("channels", (16, 64)),)): "has 16, 64 channels of its blocks",
    ("sd3", "sd3", (("extra_conditioning_channels", 1),)): "takes a mask beside the image",
    ("flux", "flux", (("guidance_embeds", True),)): "takes the guidance scale as an input, and this model has none",
    ("flux", "flux", (("joint_attention_dim", 64),)): "has 64 channels of prompt_embeds",
    ("ddpm", "sd", ()): "there are no control models for ddpm models (allowed: flux, qwen_image, sd",
}  # fmt: skip


@pytest.mark.parametrize(("family", "kind", "settings"), MISFITS)
def test_a_model_for_others_is_refused_by_its_config(checkpoints, nets, family, kind, settings):
    net = altered(nets, kind, **dict(settings)) if settings else nets / kind
    task = ["task=unconditional"] if family == "ddpm" else ["prompt=x"]
    words = refusal(checkpoints[family], f"control={net}", f"control.image={nets / 'a.png'}", *task)
    assert MISFITS[family, kind, settings] in words


NET = "control=NET"
BOTH = "control=NET control.image=IMAGE"
TYPED = {
    NET: "control.image: an image to follow is needed: control.image=FILE",
    "control=NET task=img2img image=IMAGE strength=0.5": "an image to follow is needed: control.image=",
    "control=NET control.image=nothing.png": "control.image=nothing.png: there is no such file",
    "control=nothing control.image=IMAGE": "there is no such folder or file, and it is no hub id",
    "control=owner/nothing control.image=IMAGE": "control=owner/nothing: ",
    "control=IMAGE control.image=IMAGE": "is a file of another kind: name a .safetensors file, a folder",
    "control.image=IMAGE": "there is no control model that it is of: name its model, control=OWNER/NAME",
    f"{BOTH} control.scal=1": "Did you mean scale?",
    f"{BOTH} control.scale=much": "control.scale=much: must be a number",
    f"{BOTH} control.start=0.7 control.end=0.5": "must be less than control.end",
    f"{BOTH} control.end=2": "must be a number from 0 to 1",
    f"{BOTH} control.start=0.9 steps=4": "holds none of 4 steps, so it would do nothing",
    f"{BOTH} control.mode=canny": "is for unions of several control models: leave it out",
    "control=UNION control.image=IMAGE control.mode=cany": "is no mode of this union",
    "control=UNION control.image=IMAGE control.mode=2": "is no mode of this union",
    f"{BOTH} control.revision=main": "is for models at the hub: leave it out",
    f"{BOTH} control.variant=fp16": "control.variant=fp16: it has no weights of this variant",
    f"{BOTH} control.preprocess=cany": "is no preprocessor. Did you mean canny?",
    f"{BOTH} control.preprocess.low=3": "there is no preprocessor that it is of: control.preprocess=canny",
    f"{BOTH} control.preprocess=canny control.preprocess.lo=3": "canny has no such setting. Did you mean low?",
    f"{BOTH} control.preprocess=canny control.preprocess.low=300": "must be an integer from 0 to 255",
    f"{BOTH} control.preprocess=depth": "depth needs it: control.preprocess.model=",
    f"{BOTH} accel=[onnx]": ": can't be together with accel=onnx",
    f"{BOTH} accel=[openvino]": ": can't be together with accel=openvino",
    f"{BOTH} control.image=[IMAGE,IMAGE,IMAGE]": "give one for all prompts or one for each: 3 for 1",
    f"{BOTH} model.family=hosted": "is for native families",
}


@pytest.mark.parametrize("line", TYPED)
def test_what_is_typed_wrongly_is_refused(checkpoints, nets, line):
    source = checkpoints["sdxl" if "UNION" in line else "sd"]
    paths = {"NET": nets / "sd", "UNION": nets / "sdxl_union", "IMAGE": nets / "a.png"}
    words = re.sub("NET|UNION|IMAGE", lambda match: str(paths[match[0]]), line).split()
    assert TYPED[line] in refusal(source, *words)


def test_sizes_that_an_adapter_cannot_divide_are_refused(control_models):
    model = control_models("sdxl_t2i")
    words = model.words(*model.control("width=72"))[2:]  # without the checkpoint
    with pytest.raises(ComposerError, match="width=72: must be a multiple of 16 pixels for control"):
        checked(model.source, *words)


def test_too_many_are_refused(checkpoints, nets):
    words = [
        word
        for number in range(9)
        for word in (f"control.n{number}={nets / 'sd'}", f"control.n{number}.image={nets / 'a.png'}")
    ]
    assert "8 control models are the most" in refusal(checkpoints["sd"], *words)


def test_models_that_do_not_add_up_are_refused(checkpoints, nets):
    image, one = nets / "a.png", altered(nets, "flux", guidance_embeds=False)
    other = altered(nets, "flux", guidance_embeds=False, num_single_layers=2)
    words = [f"control.a={one}", f"control.a.image={image}", f"control.b={other}", f"control.b.image={image}"]
    reason = "has num_single_layers 2 and control.a 1: they can't be together"
    assert reason in refusal(checkpoints["flux"], *words)


def test_a_damaged_model_is_refused(checkpoints, nets, tmp_path):
    for name in ("cut", "empty"):
        shutil.copytree(nets / "sd", tmp_path / name)
    weights = tmp_path / "cut" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    (tmp_path / "empty" / "diffusion_pytorch_model.safetensors").unlink()
    for name in ("cut", "empty"):
        words = refusal(checkpoints["sd"], f"control={tmp_path / name}", f"control.image={nets / 'a.png'}")
        assert words.startswith("control="), words


def test_a_refusal_imports_no_torch(checkpoints, nets, tmp_path):
    code = (
        "import sys; from composer.cli.main import main\n"
        f"code = main(['model=local', 'model.source={checkpoints['sd']}', 'control={nets / 'sd3'}',"
        f" 'control.image={nets / 'a.png'}'])\n"
        "print(code, [name for name in ('torch', 'diffusers', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "2 []" and "is a SD3ControlNetModel" in done.stderr


def test_a_record_may_not_reach_for_a_model_elsewhere(checkpoints, nets, compose, tmp_path):
    randomised(net := d.ControlNetModel.from_pretrained(nets / "sd"), 1)
    net.save_pretrained(nets / "good")
    size = ["height=64", "width=64", "steps=1"]
    words = ["model=local", f"model.source={checkpoints['sd']}", "prompt=x", *size]
    done = compose(*words, f"control={nets / 'good'}", f"control.image={nets / 'a.png'}", "output.folder=out")
    assert done.code == 0, done.err
    source = [f"model.source={checkpoints['sd']}"]
    refused = compose("rerun", "out/000.png", *source)
    assert refused.code == 2 and "its record names what is neither in this folder nor beside the image" in refused.err
    assert "control" in refused.err


@pytest.mark.parametrize("layer", ["transformer.x_embedder", "img_in"])
def test_a_control_lora_is_refused_as_a_lora(checkpoints, nets, tmp_path, layer):
    channels = json.loads((checkpoints["flux"] / "transformer/config.json").read_text())["in_channels"]
    tensors = {f"{layer}.lora_A.weight": torch.zeros(4, 2 * channels), f"{layer}.lora_B.weight": torch.zeros(32, 4)}
    save_file(tensors, tmp_path / "canny.safetensors")
    reason = refusal(checkpoints["flux"], f"lora={tmp_path / 'canny.safetensors'}", "prompt=x")
    assert f"is a control LoRA, which widens {layer.split('.')[-1]} from {channels} to {2 * channels}" in reason
    assert "control=canny.safetensors control.image=FILE" in reason
