"""IP-Adapters of Flux and Stable Diffusion 3 are what diffusers makes of them, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ip_files
import ip_transformer_files as files
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiers import slow_but

from composer import compose
from composer.errors import ComposerError
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")
SIDES = {"flux": 32, "sd3": 64}


def flux_of_two_blocks() -> Any:
    pipe = pipelines.flux()
    torch.manual_seed(0)
    transformer = type(pipe.transformer).from_config({**pipe.transformer.config, "num_layers": 2})
    return type(pipe)(**{**pipe.components, "transformer": transformer})


class Model:
    """A tiny checkpoint with IP-Adapters beside their encoder, and images."""

    def __init__(self, family: str, root: Path) -> None:
        self.family, self.root = family, root / family
        self.side = SIDES[family]
        pipe = flux_of_two_blocks() if family == "flux" else pipelines.sd3()
        self.source = self.root / "model"
        self.cls: Any = type(pipe)
        pipe.save_pretrained(self.source)
        folder = self.root / "image_encoder"
        if family == "flux":
            ip_files.encoder(folder)
            make: Callable[..., Path] = files.flux
            self.files = [make(pipe.transformer, self.root / f"{n}.safetensors", n, n == 1) for n in range(2)]
        else:
            files.siglip(folder)
            make = files.sd3
            self.files = [make(pipe.transformer, self.root / f"{n}.safetensors", n, n == 0) for n in range(2)]
        self.images = [ip_files.image(self.root / f"{seed}.png", seed) for seed in range(3)]

    def words(self, *words: str) -> list[str]:
        size = [f"height={self.side}", f"width={self.side}", "steps=2", "seed=7", "callbacks=[]"]
        return ["model=local", f"model.source={self.source}", "prompt=a cat", *size, *words]

    def image(self, *words: str) -> bytes:
        return b"".join(image.tobytes() for image in compose(*self.words(*words)).images)

    def with_file(self, number: int = 0, *words: str) -> list[str]:
        return [f"ip_adapter={self.files[number]}", f"ip_adapter.image={self.images[0]}", *words]

    def classic(self, which: list[int], images: list[list[Path]], scale: Any, **more: Any) -> bytes:
        pipe = self.cls.from_pretrained(self.source)
        pipe.set_progress_bar_config(disable=True)
        names = [self.files[number].name for number in which]
        given: Any = [[Image.open(path).convert("RGB") for path in of] for of in images]
        if self.family == "flux":
            # fp16 by diffusers' default; composer gives the encoder the dtype of the transformer
            pipe.load_ip_adapter(
                str(self.root), weight_name=names, image_encoder_pretrained_model_name_or_path=str(self.root),
                image_encoder_subfolder="image_encoder", image_encoder_dtype=torch.float32,
            )  # fmt: skip
            more["max_sequence_length"] = pipe.tokenizer_2.model_max_length
        else:
            encoder = str(self.root / "image_encoder")
            pipe.load_ip_adapter(str(self.root), subfolder="", weight_name=names[0], image_encoder_folder=encoder)
            given = given[0]
        pipe.set_ip_adapter_scale(scale)
        generator = torch.Generator().manual_seed(7)
        return b"".join(image.tobytes() for image in pipe(
            "a cat", ip_adapter_image=given, num_inference_steps=2, height=self.side, width=self.side,
            generator=generator, **more,
        ).images)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root, written = tmp_path_factory.mktemp("ip"), {}

    def of(family: str) -> Model:
        if family not in written:
            written[family] = Model(family, root)
        return written[family]

    return of


CASES = [(family, number) for family in SIDES for number in range(2)]
GUIDANCE = {"flux": ("guidance=1", {}), "sd3": ("guidance=7", {"guidance_scale": 7.0})}


@pytest.mark.parametrize(("family", "number"), slow_but([("flux", 0), ("sd3", 0)], CASES))
def test_it_equals_diffusers_and_the_run_after_equals_the_run_before(model, family, number):
    of, (word, arguments) = model(family), GUIDANCE[family]
    before = of.image(word)
    given = of.with_file(number, word)
    expected = of.classic([number], [of.images[:1]], 0.6, **arguments)
    assert of.image(*given, "ip_adapter.scale=0.6") == expected != before
    assert of.image(*given, "ip_adapter.scale=0") == before == of.image(word)


@pytest.mark.slow
def test_flux_with_several_images_files_scales_of_blocks_and_true_guidance(model):
    of = model("flux")
    pair = [f"ip_adapter={of.files[0]}", f"ip_adapter.image=[{of.images[0]},{of.images[1]}]"]
    assert of.image(*pair) == of.classic([0], [of.images[:2]], 1.0)
    assert of.image(*pair, "ip_adapter.scale.blocks=[0.3,1]") == of.classic([0], [of.images[:2]], [0.3, 1.0])
    stack = [*of.with_file(), f"ip_adapter.b={of.files[1]}", f"ip_adapter.b.image={of.images[2]}"]
    expected = of.classic([0, 1], [of.images[:1], of.images[2:]], [1.0, 0.3])
    assert of.image(*stack, "ip_adapter.b.scale=0.3") == expected


@pytest.mark.parametrize("family", SIDES)
@pytest.mark.slow
def test_a_negative_prompt_has_the_negative_images_of_diffusers(model, family):
    of = model(family)
    if family == "flux":
        words, more = ["guidance=4", "negative_prompt=grey"], {"true_cfg_scale": 4.0, "negative_prompt": "grey"}
    else:
        words, more = ["guidance=4", "negative_prompt=grey"], {"guidance_scale": 4.0, "negative_prompt": "grey"}
    assert of.image(*of.with_file(), *words) == of.classic([0], [of.images[:1]], 1.0, **more)


@pytest.mark.slow
@pytest.mark.parametrize("family", SIDES)
@pytest.mark.parametrize(
    "words",
    [["images=2"], ["images=3", "batch=2"], ["guidance=1"], ["task=img2img"], ["precision=bf16"]],
    ids=" ".join,
)  # fmt: skip
def test_it_works_with_tasks_and_options(model, words, family):
    """It has its effect, its scale counts, and without it all is as before."""
    of = model(family)
    given = of.with_file()
    before = of.image(*words)
    assert len({of.image(*words, *given), of.image(*words, *given, "ip_adapter.scale=0.5"), before}) == 3
    assert of.image(*words, *given, "ip_adapter.scale=0") == before == of.image(*words)


@pytest.mark.parametrize("family", SIDES)
def test_models_are_as_before_to_the_bit(model, family):
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read
    from composer.options.lifecycle import remove_options
    from composer.pipelines.build import build_pipeline

    of = model(family)
    checked = check(read(compose_config(of.words(*of.with_file()))))
    pipeline = build_pipeline(checked)
    remove_options()
    pipe = pipeline.family.pipe
    before = state(pipe)
    pipeline(checked.request)
    changed = state(pipe)
    remove_options()
    after = state(pipe)
    assert changed["processors"] != before["processors"] and changed["encoder"] is not None
    assert before.keys() == after.keys()
    for key, value in before.items():
        same = torch.equal(value, after[key]) if isinstance(value, torch.Tensor) else value == after[key]
        assert same, key


def state(pipe: Any) -> dict[str, Any]:
    transformer = pipe.transformer
    return {
        **{name: tensor.detach().clone() for name, tensor in transformer.state_dict().items()},
        "parameters": {name: id(of) for name, of in transformer.named_parameters()},
        "processors": {name: id(of) for name, of in transformer.attn_processors.items()},
        "attributes": sorted(vars(transformer)), "modules": [name for name, _ in transformer.named_children()],
        "config": dict(transformer.config), "of config": sorted(vars(transformer.config)),
        "of pipeline": dict(pipe.config), "encoder": pipe.image_encoder, "extractor": pipe.feature_extractor,
    }  # fmt: skip


def damaged(of: Model, name: str, path: Path) -> Path:
    tensors = dict(load_file(of.files[0]))
    if name == "a layer too few":
        last = max(int(key.split(".")[1]) for key in tensors if key.startswith("ip_adapter"))
        tensors = {key: value for key, value in tensors.items() if not key.startswith(f"ip_adapter.{last}.")}
    elif name == "a layer too many":
        tensors["ip_adapter.99.to_k_ip.weight"] = torch.zeros(2, 2)
    elif name == "another width":
        tensors["ip_adapter.0.to_k_ip.weight"] = torch.zeros(3, 3)
    elif name == "a LoRA":
        tensors = {"transformer.a.lora_A.weight": torch.zeros(2, 2)}
    elif name == "no projection":
        tensors = {key: value for key, value in tensors.items() if key.startswith("ip_adapter")}
    elif name == "another encoder":
        key = "image_proj.proj.weight" if of.family == "flux" else "image_proj.proj_in.weight"
        tensors[key] = torch.zeros(len(tensors[key]), 99)
    save_file(tensors, path)
    return path


DAMAGES = {
    "a layer too few": "for another model", "a layer too many": "for another model",
    "another width": "to_k_ip.weight is (3, 3), and here it is", "a LoRA": "is no IP-Adapter",
    "no projection": "is no IP-Adapter", "another encoder": "=99, and this encoder has",
}  # fmt: skip


@pytest.mark.parametrize("family", SIDES)
@pytest.mark.parametrize("name", DAMAGES)
def test_a_file_for_another_model_is_refused_before_weights_load(model, tmp_path, monkeypatch, family, name):
    of = model(family)
    file = damaged(of, name, tmp_path / "x.safetensors")
    words = [f"ip_adapter={file}", f"ip_adapter.image={of.images[0]}"]
    refuse(monkeypatch, of, [*words, f"ip_adapter.encoder={of.root / 'image_encoder'}"], DAMAGES[name])


SETTINGS = {
    "masks": ("both", ["ip_adapter.mask=[{0}]"], "read no masks"),
    "part": ("both", ["ip_adapter.scale.up=1"], "have no such part"),
    "blocks": ("flux", ["ip_adapter.scale.blocks=[1,1,1]"], "has 3 scales for 2 blocks"),
    "no list": ("flux", ["ip_adapter.scale.blocks=1"], "must be a list"),
    "blocks of sd3": ("sd3", ["ip_adapter.scale.blocks=[1]"], "have no such part"),
    "two images": ("sd3", ["ip_adapter.image=[{0},{1}]"], "take one image"),
    "two files": ("sd3", ["ip_adapter.b={file}", "ip_adapter.b.image={0}"], "take one IP-Adapter"),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_refused_by_name(model, monkeypatch, name):
    families, words, reason = SETTINGS[name]
    for family in SIDES if families == "both" else [families]:
        of = model(family)
        refuse(monkeypatch, of, of.with_file(0, *(w.format(*of.images, file=of.files[1]) for w in words)), reason)


def test_an_encoder_of_another_kind_is_refused(model, monkeypatch):
    flux, sd3 = model("flux"), model("sd3")
    for of, other, reason in ((flux, sd3, "read clip"), (sd3, flux, "read siglip")):
        refuse(monkeypatch, of, of.with_file(0, f"ip_adapter.encoder={other.root / 'image_encoder'}"), reason)


def refuse(monkeypatch, of: Model, words: list[str], reason: str) -> None:
    monkeypatch.setattr("composer.pipelines.build.load", None)  # calling it would be another error
    with pytest.raises(ComposerError) as error:
        compose(*of.words(*words))
    assert error.value.key.startswith("ip_adapter") and reason in str(error.value), error.value
