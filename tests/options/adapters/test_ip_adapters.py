"""IP-Adapters are what diffusers makes of them, bit for bit, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ip_files
import pytest
import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from PIL import Image
from safetensors.torch import load_file, save_file
from tiers import slow_but

from composer import compose
from composer.errors import ComposerError
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")


class Model:
    """A tiny checkpoint with IP-Adapters beside their encoder, and images."""

    def __init__(self, family: str, root: Path) -> None:
        self.family, self.root = family, root / family
        self.source = pipelines.save(family, self.root / "model")
        pipe = pipelines.MAKERS[family]()
        self.cls = type(pipe)
        ip_files.encoder(self.root / "image_encoder")
        self.files = {
            kind: ip_files.adapter(pipe.unet, self.root / f"{kind}.safetensors", kind, seed)
            for seed, kind in enumerate(ip_files.KINDS)
        }
        self.images = [ip_files.image(self.root / f"{seed}.png", seed) for seed in range(3)]
        self.masks = [ip_files.image(self.root / f"mask{seed}.png", seed, mask=True) for seed in range(2)]

    def words(self, *words: str) -> list[str]:
        size = ["height=64", "width=64", "steps=2", "seed=7", "callbacks=[]"]
        return ["model=local", f"model.source={self.source}", "prompt=a cat", *size, *words]

    def image(self, *words: str) -> bytes:
        return compose(*self.words(*words)).images[0].tobytes()

    def classic(self, kinds: list[str], images: list[Any], scale: Any, masks: Any = None, **more: Any) -> bytes:
        pipe = self.cls.from_pretrained(self.source)
        pipe.set_progress_bar_config(disable=True)
        names = [self.files[kind].name for kind in kinds]
        pipe.load_ip_adapter(str(self.root), subfolder="", weight_name=names, image_encoder_folder="image_encoder")
        pipe.set_ip_adapter_scale(scale)
        given = [[Image.open(path).convert("RGB") for path in of] for of in images]
        if masks is not None:
            more["cross_attention_kwargs"] = {"ip_adapter_masks": masks}
        generator = torch.Generator().manual_seed(7)
        return pipe(
            "a cat", ip_adapter_image=given, num_inference_steps=2, height=64, width=64, generator=generator, **more
        ).images[0].tobytes()  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root, written = tmp_path_factory.mktemp("ip"), {}

    def of(family: str) -> Model:
        if family not in written:
            written[family] = Model(family, root)
        return written[family]

    return of


CASES = [(family, kind) for family in ("sd", "sdxl") for kind in ip_files.KINDS]


@pytest.mark.parametrize(("family", "kind"), slow_but([("sd", "plus"), ("sdxl", "simple")], CASES))
def test_it_equals_diffusers_and_the_run_after_equals_the_run_before(model, family, kind):
    of = model(family)
    before, given = of.image(), [f"ip_adapter={of.files[kind]}", f"ip_adapter.image={of.images[0]}"]
    assert of.image(*given, "ip_adapter.scale=0.6") == of.classic([kind], [of.images[:1]], 0.6) != before
    assert of.image(*given, "ip_adapter.scale=0") == before == of.image()


@pytest.mark.parametrize("family", slow_but(["sd"], ["sd", "sdxl"]))
def test_several_images_masks_files_and_scales_of_blocks(model, family):
    of = model(family)
    one, two = (f"[{of.images[0]},{of.images[1]}]", f"[{of.masks[0]},{of.masks[1]}]")
    pair = [f"ip_adapter={of.files['simple']}", f"ip_adapter.image={one}"]
    plain = of.image(*pair)
    assert plain == of.classic(["simple"], [of.images[:2]], 1.0)
    masks = IPAdapterMaskProcessor().preprocess([Image.open(path) for path in of.masks], height=64, width=64)
    masked = of.image(*pair, f"ip_adapter.mask={two}")
    assert masked == of.classic(["simple"], [of.images[:2]], 1.0, [masks.reshape(1, 2, 64, 64)]) != plain
    stack = [*pair, f"ip_adapter.b={of.files['plus']}", f"ip_adapter.b.image={of.images[2]}", "ip_adapter.b.scale=0.3"]
    images = [of.images[:2], of.images[2:]]
    assert of.image(*stack) == of.classic(["simple", "plus"], images, [1.0, 0.3])
    blocks = ["ip_adapter.scale=0", "ip_adapter.scale.up.block_0=[0.4,1]"]
    if family == "sd":
        expected = of.classic(["simple"], [of.images[:2]], {"up": {"block_0": [0.4, 1.0]}})
        assert of.image(*pair, *blocks) == expected != of.image(*pair, "ip_adapter.scale=0.4")
        assert of.image(*pair, "ip_adapter.scale.mid=0.2") == of.classic(
            ["simple"], [of.images[:2]], {"down": 1.0, "mid": 0.2, "up": 1.0}
        )


@pytest.mark.parametrize(
    "words",
    [["images=2"], ["images=3", "batch=2"], ["guidance=1"], ["guidance=pag"], ["task=img2img"],
        ["accel=[deepcache]", "steps=6"],
     ["task=upscale", "steps=5"], ["prompt_overflow=chunk"], ["memory=[vae_tiling]"], ["accel=[channels_last]"]],
    ids=" ".join,
)  # fmt: skip
def test_it_works_with_tasks_and_options(model, words):
    """It has its effect, its scale counts, and without it all is as before."""
    of = model("sd")
    given = [f"ip_adapter={of.files['simple']}", f"ip_adapter.image={of.images[0]}"]
    before = of.image(*words)
    assert len({of.image(*words, *given), of.image(*words, *given, "ip_adapter.scale=0.5"), before}) == 3
    assert of.image(*words, *given, "ip_adapter.scale=0") == before == of.image(*words)


def test_models_are_as_before_to_the_bit(model):
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read
    from composer.options.lifecycle import remove_options
    from composer.pipelines.build import build_pipeline

    of = model("sdxl")
    given = [f"ip_adapter={of.files['plus']}", f"ip_adapter.image={of.images[0]}"]
    checked = check(read(compose_config(of.words(*given))))
    pipeline = build_pipeline(checked)
    remove_options()
    pipe = pipeline.family.pipe
    before = state(pipe)
    pipeline(checked.request)
    changed = state(pipe)
    remove_options()
    after = state(pipe)
    assert changed.keys() > before.keys() and changed["processors"] != before["processors"]
    assert before.keys() == after.keys()
    for key, value in before.items():
        same = value is after[key] if isinstance(value, torch.nn.Parameter) else value == after[key]
        assert same, key


def state(pipe: Any) -> dict[str, Any]:
    weights = {
        f"{name}.{path}": weight
        for name, model in pipe.components.items()
        if isinstance(model, torch.nn.Module)
        for path, weight in model.named_parameters()
    }
    totals = {f"{name} sum": weight.sum().item() for name, weight in weights.items()}
    unet = pipe.unet
    return {
        **weights, **totals, "processors": {name: id(of) for name, of in unet.attn_processors.items()},
        "projection": unet.encoder_hid_proj, "kind": unet.config.encoder_hid_dim_type, "config": dict(pipe.config),
        "encoder": getattr(pipe, "image_encoder", None), "extractor": pipe.feature_extractor,
        "attributes": sorted(vars(unet)),
    }  # fmt: skip


def damaged(of: Model, name: str, tmp_path: Path) -> Path:
    tensors = dict(load_file(of.files["simple"]))
    first = next(key for key in tensors if key.endswith("to_k_ip.weight"))
    if name == "another width":
        tensors = {k: torch.zeros(v.shape[0], 48) if k.startswith("ip_adapter") else v for k, v in tensors.items()}
    elif name == "a layer too few":
        tensors = {k: v for k, v in tensors.items() if k.split(".")[1] != first.split(".")[1]}
    elif name == "FaceID":
        tensors[first.replace("to_k_ip", "to_k_lora.down")] = torch.zeros(2, 2)
    elif name == "a LoRA":
        tensors = {"a.lora_A.weight": torch.zeros(2, 2)}
    elif name == "another encoder":
        tensors["image_proj.proj.weight"] = torch.zeros(4 * 32, 99)
    elif name == "no projection":
        tensors = {k: v for k, v in tensors.items() if k.startswith("ip_adapter")}
    save_file(tensors, tmp_path / "x.safetensors")
    return tmp_path / "x.safetensors"


FILES = {
    "another width": "for a model whose prompt_embeds have 48 channels", "a layer too few": "has weights for",
    "FaceID": "is a FaceID", "a LoRA": "is no IP-Adapter", "another encoder": "its file reads projection_dim=99",
    "no projection": "is no IP-Adapter",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_for_another_model_is_refused_before_weights_load(model, tmp_path, monkeypatch, name):
    of = model("sd")
    file = damaged(of, name, tmp_path)
    words = [
        f"ip_adapter={file}",
        f"ip_adapter.image={of.images[0]}",
        f"ip_adapter.encoder={of.root / 'image_encoder'}",
    ]
    refuse(monkeypatch, of, words, FILES[name])


SETTINGS = {
    "no image": ([], "an image is needed"), "no such image": (["ip_adapter.image=none.png"], "none.png"),
    "masks": (["ip_adapter.mask=[{0},{1}]"], "2 masks are given for 1 images"),
    "typo": (["ip_adapter.scal=1"], "Did you mean scale?"),
    "part": (["ip_adapter.scale.side=1"], "there is no such part"),
    "block": (["ip_adapter.scale.up.block_9=1"], "there is no such block"),
    "layers": (["ip_adapter.scale.up.block_0=[1,1,1,1]"], "has 4 numbers for 2 layers"),
    "encoder": (["ip_adapter.encoder=nowhere"], "there is no such directory"),
    "slicing": (["memory=[attention_slicing]"], "can't be together with memory=attention_slicing"),
    "no number": (["ip_adapter.scale.up=high"], "must be a number"),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_refused_by_name(model, monkeypatch, name):
    of, (words, reason) = model("sd"), SETTINGS[name]
    image = [] if name in ("no image", "no such image") else [f"ip_adapter.image={of.images[0]}"]
    refuse(monkeypatch, of, [f"ip_adapter={of.files['simple']}", *image, *(w.format(*of.masks) for w in words)], reason)


def refuse(monkeypatch, of: Model, words: list[str], reason: str) -> None:
    monkeypatch.setattr("composer.pipelines.build.load", None)  # calling it would be another error
    with pytest.raises(ComposerError) as error:
        compose(*of.words(*words))
    assert error.value.key.startswith("ip_adapter") and reason in str(error.value), error.value


def test_a_sweep_over_scales_reads_nothing_again_and_a_record_reruns(model, compose, tmp_path, monkeypatch):
    from composer.options.adapters import ip_adapters

    of, reads = model("sd"), []
    read = ip_adapters._tensors
    monkeypatch.setattr(ip_adapters, "_tensors", lambda prompt: reads.append(prompt.path.name) or read(prompt))
    words = [word for word in of.words() if not word.startswith("callbacks")]
    axes = [
        f"ip_adapter={of.files['simple']}",
        f"ip_adapter.image={of.images[0]},{of.images[1]}",
        "ip_adapter.scale=0.2,0.9",
    ]
    done = compose("-m", *words, *axes, "output.folder=out", "sweep.batch=1")
    assert done.code == 0, done.err
    assert reads == ["simple.safetensors"]
    assert len({path.read_bytes() for path in (tmp_path / "out").rglob("000.png")}) == 4
    again = compose("rerun", str(sorted((tmp_path / "out").rglob("000.png"))[-1]), "--trust")
    assert again.code == 0 and "bit for bit" in again.out, (again.out, again.err)
