"""Control models in single files: ControlNets in the layouts of their authors, and control LoRA of FLUX.1."""

from __future__ import annotations

import json
import re
from pathlib import Path

import diffusers as d
import lora_files
import pytest
import torch
from control_models import STEPS, Model
from safetensors.torch import load_file
from test_control_parity import noise

from composer import compose
from composer.errors import ComposerError

pytestmark = pytest.mark.usefixtures("one_thread")

#: Parts of residual blocks and of names outside of blocks, in diffusers' words → in those of the original repository.
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
OUTSIDE = {
    "conv_in.": "input_blocks.0.0.", "time_embedding.linear_1.": "time_embed.0.", "mid_block.attentions.0.":
    "middle_block.1.", "time_embedding.linear_2.": "time_embed.2.", "controlnet_mid_block.": "middle_block_out.0.",
    "controlnet_cond_embedding.conv_in.": "input_hint_block.0.",
    "controlnet_cond_embedding.conv_out.": "input_hint_block.14.",
}  # fmt: skip
LAST_HINT = 14


def original(name: str, layers_per_block: int) -> str:
    """A tensor's name as lllyasviel's repository has it: blocks are counted through, and the image's layers too."""
    for ours, theirs in OUTSIDE.items():
        if name.startswith(ours):
            return name.replace(ours, theirs)
    kind, *rest = name.split(".")
    if kind == "controlnet_down_blocks":
        return f"zero_convs.{rest[0]}.0.{rest[1]}"
    if kind == "controlnet_cond_embedding":
        return f"input_hint_block.{2 * (int(rest[1]) + 1)}.{rest[2]}"
    if kind == "mid_block":
        return f"middle_block.{2 * int(rest[1])}.{RESNET[rest[2]]}.{rest[3]}"
    block, part, layer, *inner = rest
    first = 1 + int(block) * (layers_per_block + 1)
    if part == "downsamplers":
        return f"input_blocks.{first + layers_per_block}.0.op.{inner[-1]}"
    where = f"input_blocks.{first + int(layer)}"
    return f"{where}.0.{RESNET[inner[0]]}.{inner[1]}" if part == "resnets" else f"{where}.1.{'.'.join(inner)}"


def weights_of(net: Path) -> dict[str, torch.Tensor]:
    return load_file(net / "diffusion_pytorch_model.safetensors")


def original_file(net: Path, path: Path, prefix: str = "") -> Path:
    layers = json.loads((net / "config.json").read_text())["layers_per_block"]
    return lora_files.save({prefix + original(name, layers): value for name, value in weights_of(net).items()}, path)


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "control_model."])
def test_a_file_in_the_original_layout_is_what_diffusers_loads_of_it(control_models, tmp_path, prefix):
    model: Model = control_models("sd")
    file = original_file(model.nets[0], tmp_path / "control_sd15.safetensors", prefix)
    theirs = d.ControlNetModel.from_single_file(str(file), config=str(model.nets[0])).state_dict()
    ours = weights_of(model.nets[0])
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[name], ours[name]) for name in ours)
    words = ["control.scale=0.7", f"control.image={model.files['a']}"]
    before = model.image()
    expected = model.classic(
        d.StableDiffusionControlNetPipeline, image=model.open("a"), controlnet_conditioning_scale=0.7
    )
    assert model.image(f"control={file}", *words) == expected != before == model.image()
    record = compose(*model.words(f"control={file}", *words)).record["control"]["control"]
    assert record["class"] == "ControlNetModel" and len(record["fingerprint"]) == 64


@pytest.mark.slow
def test_a_file_in_diffusers_layout_takes_its_settings_from_the_unet(control_models, tmp_path):
    model: Model = control_models("sdxl")
    file = lora_files.save(weights_of(model.nets[0]), tmp_path / "canny.safetensors")
    words = [f"control.image={model.files['a']}", "control.scale=0.7"]
    assert model.image(f"control={file}", *words) == model.image(f"control={model.nets[0]}", *words) != model.image()


#: Name → kind of checkpoint, how the tensors of the first net are changed, and words of the refusal.
WRONG_FILES = {
    "another base": ("sdxl", lambda net: original_tensors(net), "for another base model"),
    "a transformer": ("flux", lambda net: {"controlnet_x_embedder.weight": torch.ones(2, 2)},
                      "holds a ControlNet of a transformer, and single files can be ControlNets of sd and sdxl"),
    "a T2I-Adapter": ("sd", lambda net: {"adapter.body.0.in_conv.weight": torch.ones(2, 2)}, "holds a T2I-Adapter"),
    "a union": ("sd", lambda net: {**weights_of(net), "task_embedding": torch.ones(2, 2)}, "a union of ControlNets"),
    "a LoRA": ("sd", lambda net: {"lora_unet_x.lora_down.weight": torch.ones(2, 2)}, "holds a LoRA, for lora="),
    "another width": ("sd", lambda net: {**weights_of(net), "mid_block.resnets.0.conv1.weight": torch.ones(4, 4, 3, 3)},
                      "is for another base model: mid_block.resnets.0.conv1 is 4 x 4 x 3 x 3, and here it is 32 x 32"),
    "more blocks": ("sd", lambda net: {**original_tensors(net), "input_blocks.9.0.op.weight": torch.ones(1)},
                    "has 5 blocks from 16 channels on, and this model 4 from 16"),
}  # fmt: skip


def original_tensors(net: Path) -> dict[str, torch.Tensor]:
    return {original(name, 1): value for name, value in weights_of(net).items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_file_of_another_kind_or_base_is_refused_before_weights_load(control_models, tmp_path, name):
    kind, change, words = WRONG_FILES[name]
    file = lora_files.save(change(control_models("sd").nets[0]), tmp_path / "x.safetensors")
    model: Model = control_models(kind)
    with pytest.raises(ComposerError, match=re.escape(words)) as error:
        checked(model, f"control={file}", f"control.image={model.files['a']}")
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["a stray tensor", "a missing tensor"])
def test_every_tensor_of_a_file_is_used(control_models, tmp_path, change):
    model: Model = control_models("sd")
    tensors = original_tensors(model.nets[0])
    if change == "a stray tensor":
        tensors["epoch"] = torch.ones(1)
    else:
        del tensors["time_embed.2.bias"]
    file = lora_files.save(tensors, tmp_path / "x.safetensors")
    reason = "1 of its .* tensors are of something else" if "epoch" in tensors else "missing"
    with pytest.raises(ComposerError, match=reason):
        model.image(f"control={file}", f"control.image={model.files['a']}")


def checked(model: Model, *words: str) -> None:
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read

    check(read(compose_config(model.words(*words))))


class ControlLora:
    """A control LoRA with norms for a tiny FLUX.1, and its images by diffusers' pipeline for such files."""

    def __init__(self, model: Model, folder: Path, norms: bool = True) -> None:
        self.model, self.folder, pipe = model, folder, model.cls.from_pretrained(model.source)
        layers, channels = lora_files.layers_of(pipe), pipe.transformer.config.in_channels
        tensors = lora_files.diffusers(layers)
        torch.manual_seed(1)
        tensors["transformer.x_embedder.lora_A.weight"] = torch.randn(4, 2 * channels) * 0.2
        tensors["transformer.x_embedder.lora_B.weight"] = torch.randn(pipe.transformer.inner_dim, 4) * 0.2
        if norms:
            named = pipe.transformer.named_parameters()
            chosen = {name: weight for name, weight in named if re.search(r"\.norm_(q|added_k)\.", name)}
            tensors |= {f"transformer.{name}": torch.rand_like(weight) + 0.5 for name, weight in chosen.items()}
        self.tensors, self.file = tensors, lora_files.save(tensors, folder / "canny.safetensors")
        self.style = lora_files.save(lora_files.diffusers(layers, seed=9), folder / "style.safetensors")

    def words(self, *words: str) -> list[str]:
        return [f"control={self.file}", f"control.image={self.model.files['a']}", *words]

    def classic(self, scale: float, *styles: float) -> bytes:
        names = ("image_encoder", "feature_extractor")
        components = self.model.cls.from_pretrained(self.model.source).components
        pipe = d.FluxControlPipeline(**{name: of for name, of in components.items() if name not in names})
        pipe.set_progress_bar_config(disable=True)
        names = ["canny", *["style"] * len(styles)]
        for name in names:
            pipe.load_lora_weights(str(self.folder), weight_name=f"{name}.safetensors", adapter_name=name)
        pipe.set_adapters(names, [scale, *styles])
        result = pipe(
            "a cat", control_image=self.model.open("a"), num_inference_steps=STEPS, height=self.model.side,
            width=self.model.side, generator=torch.Generator().manual_seed(7), latents=noise(self.model),
            guidance_scale=7.5, max_sequence_length=48,
        )  # fmt: skip
        return result.images[0].tobytes()


@pytest.fixture(scope="module")
def control_lora(control_models, tmp_path_factory):
    return ControlLora(control_models("flux"), tmp_path_factory.mktemp("control-lora"))


@pytest.mark.slow
def test_a_control_lora_equals_diffusers_and_leaves_nothing(control_lora):
    """It widens the first layer and replaces norms; another LoRA beside it, another scale, and 0."""
    from test_control_runs import state

    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read
    from composer.pipelines.build import build_pipeline

    model: Model = control_lora.model
    pipe = build_pipeline(check(read(compose_config(model.words())))).family.pipe
    before, states = model.image(), state(pipe)
    image = model.image(*control_lora.words("control.scale=0.7"))
    assert image == control_lora.classic(0.7) != before == model.image()
    assert model.image(*control_lora.words()) == control_lora.classic(1.0) != image
    assert model.image(*control_lora.words("control.scale=0")) == before
    styled = control_lora.words("control.scale=0.7", f"lora={control_lora.style}", "lora.scale=0.5")
    assert model.image(*styled) == control_lora.classic(0.7, 0.5) != image
    assert model.image(*control_lora.words("control.scale=0.7")) == image and model.image() == before
    after = state(pipe)
    assert after.keys() == states.keys()
    for key, (weight, values, attributes) in states.items():
        assert after[key][0] is weight and torch.equal(values, after[key][1]) and after[key][2] == attributes, key


@pytest.mark.slow
@pytest.mark.parametrize("words", [["accel=[fused_qkv]"], ["task=img2img"], ["images=2", "batch=2"], ["memory=[auto]"]])
def test_a_control_lora_works_with_other_options(control_lora, words):
    model: Model = control_lora.model
    words = [*words, f"image={model.files['photo']}", "strength=0.6"] if "task=img2img" in words else words
    plain = model.image(), model.image(*words)
    assert model.image(*words, *control_lora.words()) != plain[1]
    assert (model.image(), model.image(*words)) == plain


#: Words after those of a control LoRA, and words of the refusal.
REFUSED = {
    "control.start=0.5": "control.start=0.5: a control LoRA widens the model for all steps",
    "control.end=0.5": "control.end=0.5: a control LoRA widens the model for all steps",
    "control.mode=canny": "control.mode=canny: is for other models than single files",
    "accel=[onnx]": "can't be together with accel=onnx",
    "accel=[openvino]": "can't be together with accel=openvino",
    "precision=fp8": "changes weights as they compute, and here they are stored in fewer bits",
    "control.b=FILE control.b.image=IMAGE": "a model can be widened once: choose one of them",
}


@pytest.mark.slow
@pytest.mark.parametrize("line", REFUSED)
def test_what_a_control_lora_cannot_do_is_refused(control_lora, line):
    model: Model = control_lora.model
    words = line.replace("FILE", str(control_lora.file)).replace("IMAGE", model.files["a"]).split()
    with pytest.raises(ComposerError, match=re.escape(REFUSED[line])):
        model.image(*control_lora.words(*words))


@pytest.mark.slow
@pytest.mark.parametrize("change", ["narrow", "wider", "a norm", "a stray tensor", "another depth"])
def test_a_control_lora_for_another_model_is_refused_before_weights_load(control_lora, tmp_path, change):
    model, tensors = control_lora.model, dict(control_lora.tensors)
    first = "transformer.x_embedder.lora_A.weight"
    channels = tensors[first].shape[1] // 2
    norm = next(name for name in tensors if "norm_q" in name)
    changes, reason = {
        "narrow": ({first: torch.ones(4, channels)}, "is a LoRA that reads no image"),
        "wider": ({first: torch.ones(4, 6 * channels)}, f"twice the latents of this model are {2 * channels}"),
        "a norm": ({norm: torch.ones(3)}, "is not in this one, or of another size"),
        "a stray tensor": ({"epoch": torch.ones(1)}, "which would be left out: epoch"),
        "another depth": (
            {f"transformer.transformer_blocks.7.attn.to_q.lora_{role}.weight": torch.ones(4, 4) for role in "AB"},
            "1 of",
        ),
    }[change]
    file = lora_files.save({**tensors, **changes}, tmp_path / "x.safetensors")
    with pytest.raises(ComposerError, match=re.escape(reason)):
        checked(model, f"control={file}", f"control.image={model.files['a']}")
