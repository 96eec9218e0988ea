"""Control models in sweeps, batches, other tasks and guidances, with other options, and in records."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from control_models import KINDS, Model, randomised
from PIL import Image
from tiers import slow_but

from composer import StepCallback, compose
from composer.loading import component_loader
from composer.options.lifecycle import clear_models

pytestmark = pytest.mark.usefixtures("one_thread")

#: Words that some kinds of control models need.
MODES = {"sdxl_union": ["control.mode=0"], "flux_union": ["control.mode=0"]}
FROM_IMAGE = {
    "sd_inpaint": lambda model: [
        "task=inpaint",
        f"image={model.files['photo']}",
        f"mask={model.files['mask']}",
        "blur=0",
    ]
}


def words_of(kind: str, model: Model) -> list[str]:
    return FROM_IMAGE.get(kind, lambda model: [])(model)


@pytest.mark.parametrize("kind", slow_but(["sd"], KINDS))
def test_scale_0_is_none_and_two_scales_differ(control_models, kind):
    model = control_models(kind)
    plain, control = words_of(kind, model), model.control(*MODES.get(kind, []))
    before = model.image(*plain)
    images = [model.image(*plain, *control, f"control.scale={scale}") for scale in (0, 0.5, 1)]
    assert images[0] == before and len(set(images)) == 3
    assert model.image(*plain) == before


@pytest.mark.parametrize("kind", slow_but(["z_image"], KINDS))
def test_models_are_as_before_to_the_bit(control_models, kind):
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read
    from composer.pipelines.build import build_pipeline

    model = control_models(kind)
    plain = words_of(kind, model)
    pipe = build_pipeline(check(read(compose_config(model.words(*plain))))).family.pipe
    model.image(*plain)  # libraries note on some models that they have run
    before = state(pipe)
    model.image(*plain, *model.control(*MODES.get(kind, [])))
    after = state(pipe)
    assert before.keys() == after.keys()
    for key, (weight, values, attributes) in before.items():
        assert after[key][0] is weight and torch.equal(values, after[key][1]) and after[key][2] == attributes, key


def state(pipe: Any) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Every weight: the tensor itself and its values, and the attributes of its model."""
    models = {name: model for name, model in pipe.components.items() if isinstance(model, torch.nn.Module)}
    return {
        (name, path): (weight, weight.detach().clone(), sorted(vars(model)))
        for name, model in models.items()
        for path, weight in model.named_parameters()
    }


#: Options that work beside a control model on a CPU → words that set them.
OPTIONS = {
    "attention_slicing": ["memory=[attention_slicing]"], "deepcache": ["accel=[deepcache]", "steps=6"],
    "channels_last": ["accel=[channels_last]"], "layerwise_casting": ["memory=[layerwise_casting]"],
    "fp8": ["precision=fp8"],
    "bf16": ["precision=bf16", "precision.force=true"], "fused_qkv": ["accel=[fused_qkv]"], "tome": ["accel=[tome]"],
    "vae_tiling": ["memory=[vae_tiling]", "height=128", "width=128"], "memory": ["memory=[auto]"],
    "pag": ["guidance=pag"], "cfg_zero": ["guidance=cfg_zero"], "unguided": ["guidance=1"], "heun": ["scheduler=heun"],
    "img2img": ["task=img2img"], "inpaint": ["task=inpaint"], "outpaint": ["task=outpaint", "margins=8"],
    "upscale": ["task=upscale"],
    "chunk": ["prompt_overflow=chunk"], "weights": ["prompt_syntax=weights", "prompt=a (cat:1.3)"],
    "batch": ["images=3", "batch=2"], "callbacks": ["callbacks=[dynamic_threshold,guidance_schedule]"],
    "compile": ["accel=[compile]"],
}  # fmt: skip


@pytest.mark.parametrize("name", slow_but(["pag", "batch"], OPTIONS))
def test_a_b_a_with_other_options(control_models, name):
    """It has its effect beside the option, and is gone in the run after, whether the option stays or not."""
    model: Model = control_models("sd")
    words, control = OPTIONS[name], model.control()
    plain = model.image(), model.image(*words)
    assert len({model.image(*words, *control), model.image(*words, *control, "control.scale=0.5"), plain[1]}) == 3
    assert model.image(*words, *control, "control.scale=0") == plain[1]
    assert (model.image(), model.image(*words)) == plain
    assert model.image(*control) != plain[0] == model.image()


@pytest.mark.slow
def test_a_b_a_over_lora_control_memory_and_accel(control_models, tmp_path):
    """Each combination gives the same image whatever ran before it."""
    from itertools import product

    import lora_files

    from composer.testing import pipelines

    model: Model = control_models("sd")
    file = lora_files.save(lora_files.kohya(lora_files.layers_of(pipelines.sd())), tmp_path / "x.safetensors")
    axes = ([f"lora={file}"], model.control(), ["memory=[attention_slicing]"], ["accel=[deepcache]"])
    combinations = [
        [word for words, on in zip(axes, chosen) if on for word in words] for chosen in product((0, 1), repeat=4)
    ]
    alone = []
    for words in combinations:
        clear_models()
        alone.append(model.image(*words))
    assert len(set(alone)) > 8
    order = np.random.default_rng(0).permutation([*range(len(combinations))] * 2)
    assert [model.image(*combinations[i]) for i in order] == [alone[i] for i in order]


def test_it_is_together_with_lora_and_ip_adapter_as_in_diffusers(control_models, tmp_path):
    import diffusers
    import ip_files
    import lora_files

    model: Model = control_models("sd")
    pipe = model.cls.from_pretrained(model.source)
    ip_files.encoder(tmp_path / "image_encoder")
    prompt = ip_files.adapter(pipe.unet, tmp_path / "prompt.safetensors")
    lora = lora_files.save(lora_files.kohya(lora_files.layers_of(pipe)), tmp_path / "lora.safetensors")

    def prepare(pipe):
        pipe.load_ip_adapter(str(tmp_path), subfolder="", weight_name=prompt.name, image_encoder_folder="image_encoder")
        pipe.set_ip_adapter_scale(0.6)
        pipe.load_lora_weights(str(tmp_path), weight_name=lora.name, adapter_name="one")
        pipe.set_adapters(["one"], [0.7])

    expected = model.classic(
        diffusers.StableDiffusionControlNetPipeline,
        prepare=prepare,
        image=model.open("a"),
        ip_adapter_image=model.open("b"),
    )
    adapters = [f"ip_adapter={prompt}", f"ip_adapter.image={model.files['b']}", "ip_adapter.scale=0.6", f"lora={lora}"]
    before, words = model.image(), [*adapters, "lora.scale=0.7", *model.control()]
    assert model.image(*words) == expected
    assert model.image() == before


def test_images_of_a_batch_follow_their_own_control_images(control_models):
    """Two prompts with an image each: in one batch as diffusers computes it, and one after the other."""
    import diffusers

    model: Model = control_models("sd")
    prompts, images = "prompt=['a cat','two dogs']", f"control.image=[{model.files['a']},{model.files['b']}]"
    words = [prompts, f"control={model.nets[0]}", images, "seed_step=1"]
    generators = [torch.Generator().manual_seed(seed) for seed in (7, 8)]
    expected = model.classic(
        diffusers.StableDiffusionControlNetPipeline, prompt=["a cat", "two dogs"], generator=generators,
        image=[model.open("a"), model.open("b")],
    )  # fmt: skip
    together, one_by_one = model.image(*words), model.image(*words, "batch=1")
    assert together == expected
    single = [
        model.image(*model.control(f"control.image={model.files[name]}"), f"prompt={prompt}", f"seed={seed}")
        for name, prompt, seed in (("a", "a cat", 7), ("b", "two dogs", 8))
    ]
    assert one_by_one == b"".join(single)


def test_a_callback_that_predicts_gets_the_residuals_too(control_models):
    model: Model = control_models("sd")

    class Predicts(StepCallback):
        batch_safe = True

        def __init__(self):
            self.equal = []

        def after_predict(self, step, prediction):
            self.equal.append(torch.equal(self.run.predict(step), prediction))

    callback = Predicts()
    words = [word for word in model.words(*model.control()) if not word.startswith("callbacks")]
    result = compose(*words, callbacks=[callback])
    assert all(callback.equal) and len(callback.equal) == 4
    assert result.images[0].tobytes() == model.image(*model.control())


@pytest.mark.parametrize("command", slow_but(["python"], ["python", "-m"]))
def test_a_sweep_loads_the_model_once(control_models, compose, tmp_path, command):
    """3 scales, 2 seeds, none and two models: each is loaded once, and the images are those of single runs."""
    model: Model = control_models("sd")
    clear_models()
    component_loader.loaded.clear()
    words = [word for word in model.words() if not word.startswith("seed")]
    if command == "python":
        for scale in (0, 0.5, 1):
            model.image(*model.control(f"control.scale={scale}"))
            model.image()
        assert component_loader.loaded[str(model.nets[0])] == 1
        return
    nets = ",".join(["null", *map(str, model.nets)])
    axes = [f"control={nets}", "control.scale=0,0.5,1", "seed=1,2", f"control.image={model.files['a']}"]
    done = compose("-m", *words, *axes, "sweep.batch=1", "output.folder=sweep")
    assert done.code == 0, done.err
    assert [component_loader.loaded[str(net)] for net in model.nets] == [1, 1]
    pixels = {}
    for path in sorted((tmp_path / "sweep").rglob("run.json")):
        record = json.loads(path.read_text())
        control = record["config"]["control"]
        pixels[str(control["model"]), control["scale"], record["config"]["seed"]] = record["pixels"]
    assert len(pixels) >= 1 + 2 * 3 * 2
    for (net, scale, seed), hashes in pixels.items():
        control = (
            [] if net == "None" else [f"control={net}", f"control.image={model.files['a']}", f"control.scale={scale}"]
        )
        assert _record(*words, f"seed={seed}", *control)["pixels"] == hashes, (net, scale, seed)
    page = (tmp_path / "sweep" / "index.html").read_text()
    assert "control.scale" in page and "control.model" not in page and "++control" not in page


def _record(*words: str) -> dict[str, Any]:
    from composer import compose

    return compose(*words).record


def test_a_record_reruns_and_knows_the_content(control_models, compose, tmp_path):
    model: Model = control_models("sd")
    shutil.copytree(model.nets[0], tmp_path / "net")
    shutil.copy(model.files["a"], tmp_path / "a.png")
    words = [word for word in model.words() if not word.startswith("callbacks")]
    control = ["control=./net", "control.image=a.png", "control.scale=0.7", "control.preprocess=gray"]
    done = compose(*words, *control, "output.folder=out")
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "control-000.png").is_file()
    info = compose("info", "out/000.png")
    assert "./net at 0.7" in info.out and "control.image=a.png" in info.out
    again = compose("rerun", "out/000.png", "--trust")
    assert again.code == 0, again.err
    randomised(net := model._class.from_pretrained(tmp_path / "net"), 9)
    net.save_pretrained(tmp_path / "net")
    other = compose("rerun", "out/000.png", "--trust")
    assert other.code == 1 and re.search(r"control control fingerprint was", other.err), other.err


def test_ids_of_jobs_know_content_and_settings_but_no_path(control_models, tmp_path):
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read
    from composer.records.job_id import job_id

    model: Model = control_models("sd")
    shutil.copytree(model.nets[0], tmp_path / "copy")

    def identify(*words: str) -> str:
        return job_id(check(read(compose_config(model.words(*words)))))

    first = identify(*model.control())
    assert identify(*model.control(f"control={tmp_path / 'copy'}")) == first
    assert identify("control=null", "control.scale=2") == identify()
    settings = ("control.scale=0.5", "control.start=0.5", "control.end=0.5", "control.preprocess=gray",
                f"control={model.nets[1]}", f"control.image={model.files['b']}")  # fmt: skip
    ids = {identify(*model.control(setting)) for setting in settings}
    assert len({*ids, first, identify()}) == len(settings) + 2


def test_a_model_at_the_hub(control_models, tmp_path, monkeypatch):
    """From the hub's cache, by repository and by folder of one, as huggingface_hub keeps it."""
    from huggingface_hub import constants, file_download

    model: Model = control_models("sd")
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("0" * 40)
    for folder in (snapshot, snapshot / "canny"):
        shutil.copytree(model.nets[0], folder, dirs_exist_ok=True)
    refs = tmp_path / "models--owner--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    for module in (constants, file_download.constants):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path))
    expected = model.image(*model.control())
    for source in ("owner/name", "owner/name/canny"):
        result = compose(*model.words(*model.control(f"control={source}", "control.revision=main")))
        assert result.images[0].tobytes() == expected
        assert result.record["control"]["control"]["fingerprint"] == "0" * 40


def test_images_from_python(control_models):
    """A PIL image, as a mapping or by its key, is as the file."""
    model: Model = control_models("sd")
    words, image = model.words(), Image.open(model.files["a"])
    expected = model.image(*model.control())
    result = compose(*words, control={"model": str(model.nets[0]), "image": image})
    assert result.images[0].tobytes() == expected
    result = compose(*words, f"control={model.nets[0]}", **{"control.image": image})
    assert result.images[0].tobytes() == expected


def test_the_refiner_runs_without_it(control_models):
    model: Model = control_models("sdxl")
    from composer.testing import pipelines

    refiner = model.root / "refiner"
    if not refiner.is_dir():
        pipelines.save("sdxl_refiner", refiner)
    result = compose(*model.words(*model.control(), f"model.refiner.source={refiner}", "model.refiner.start=0.5"))
    assert any("the refiner runs without it" in note for note in result.notes)
