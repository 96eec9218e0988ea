"""Checkpoints that exist only as blocks: every moment of callbacks, decoding, stopping, and diffusers' own result."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import numpy as np
import pytest
import torch
from diffusers.modular_pipelines.modular_pipeline import LoopSequentialPipelineBlocks
from PIL import Image
from pipelines.hosted.cases import Recorder
from pipelines.modular.cases import STEPS, own_call, pipeline, pixels, run, same, words
from safetensors.torch import save_file
from zoo import modular

import composer
from composer import StepCallback
from composer.checkpoints.component_folder import weight_files
from composer.checkpoints.headers import read_header
from composer.checks.compatibility import check
from composer.config.catalogue import catalogue
from composer.config.compose import compose_config
from composer.config.read import read
from composer.config.search_path import conf_folders
from composer.errors import ComposerError
from composer.pipelines.offers import find_offers

pytestmark = pytest.mark.usefixtures("one_thread")
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
MEDIA = frozenset({"image", "clip"})
#: Those that are tried in each run of the tests; the others are slow.
STANDARD = ("qwen", "anima")
ALL = [name if name in STANDARD else pytest.param(name, marks=pytest.mark.slow) for name in modular.MAKERS]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("modular")

    def folder(name: str) -> Path:
        return root / name if (root / name).exists() else modular.write(name, root / name)

    return folder


class Watcher(Recorder):
    """Records all moments of clips too."""

    media = MEDIA


@dataclass
class Moment(StepCallback):
    """Changes one moment alone.

    Attributes:
        moment: Name of the moment.
    """

    moment: str
    media: ClassVar[frozenset[str]] = MEDIA

    def before_step(self, step):
        return replace(step, latents=step.latents * 1.05) if self.moment == "before_step" else None

    def after_predict(self, step, prediction):
        return prediction * 0.9 if self.moment == "after_predict" else None

    def after_step(self, step, latents):
        return latents * 0.95 if self.moment == "after_step" else None


@dataclass
class Decoder(StepCallback):
    """Decodes the latents of each step.

    Attributes:
        decoded: Media by iteration.
    """

    decoded: list[Any] = field(default_factory=list)
    media: ClassVar[frozenset[str]] = MEDIA

    def after_step(self, step, latents):
        self.decoded.append(self.run.decode(latents))


@dataclass
class Scale(StepCallback):
    """Changes the guidance scale of each step.

    Attributes:
        scale: The scale.
    """

    scale: float

    def before_step(self, step):
        return replace(step, guidance_scale=self.scale)


@pytest.mark.parametrize("name", ALL)
def test_looking_changes_nothing_and_is_what_diffusers_makes(saved, name):
    folder, watching = saved(name), Watcher(edits=False)
    watched, plain = run(folder, [watching]), run(folder)
    assert same(watched.media, plain.media) and same(plain.media, own_call(folder))
    moments = ["before_step", "after_predict", "after_step"]
    assert [moment[0] for moment in watching.seen] == moments * STEPS
    assert watched.findings is not None and watched.findings["stages"][0]["steps"] == STEPS


@pytest.mark.parametrize("name", ALL)
def test_each_moment_takes_effect_and_leaves_nothing(saved, name):
    folder = saved(name)
    plain = run(folder).media
    for moment in ("before_step", "after_predict", "after_step"):
        assert not same(run(folder, [Moment(moment)]).media, plain), moment
    assert same(run(folder).media, plain)
    blocks = type(pipeline(folder)[0].family.pipe.blocks)()  # instances of blocks are shared between all of a class
    loops = [block for block in walk(blocks) if isinstance(block, LoopSequentialPipelineBlocks)]
    assert loops and all("loop_step" not in vars(loop) for loop in loops)


def walk(block: Any) -> list[Any]:
    return [block, *(inner for sub in (block.sub_blocks or {}).values() for inner in walk(sub))]


@pytest.mark.parametrize("name", ALL)
def test_latents_of_any_step_are_decoded(saved, name):
    folder, decoder = saved(name), Decoder()
    with_decoding, plain = run(folder, [decoder]), run(folder)
    assert same(with_decoding.media, plain.media)
    assert same(decoder.decoded[-1], plain.media) and not same(decoder.decoded[0], plain.media)


@pytest.mark.parametrize("name", ALL)
def test_a_run_that_is_stopped_ends_with_the_latents_of_then(saved, name):
    folder, decoder = saved(name), Decoder()
    run(folder, [decoder])
    stopped = run(folder, [Watcher(edits=False, stop=1)])
    assert same(stopped.media, decoder.decoded[1])
    assert stopped.findings is not None and stopped.findings["skipped"] >= 1


def test_a_scale_that_a_callback_sets_is_that_of_the_request(saved):
    folder = saved("qwen")
    by_callback = run(folder, [Scale(2.0)], "guidance=7").media
    assert same(by_callback, run(folder, [], "guidance=2").media)
    assert not same(by_callback, run(folder, [], "guidance=7").media)


@pytest.mark.parametrize("name", ["zimage", pytest.param("flux", marks=pytest.mark.slow)])
def test_a_scale_is_refused_where_nothing_is_guided(saved, name):
    with pytest.raises(ComposerError, match=r"its scale can't be changed to 2"):
        run(saved(name), [Scale(2.0)])


def test_guiders_of_diffusers_replace_the_plain_one(saved):
    folder = saved("anima")
    guider = diffusers.AdaptiveProjectedGuidance(
        guidance_scale=4.0, adaptive_projected_guidance_momentum=-0.5, adaptive_projected_guidance_rescale=15.0,
        eta=0.0,
    )  # fmt: skip
    pipe = pipeline(folder)[0].family.pipe
    before = pipe.guider
    mine = run(folder, [], "guidance=apg").media
    assert pipe.guider is before
    theirs = diffusers.ModularPipeline.from_pretrained(str(folder))
    theirs.register_components(
        **{name: getattr(pipe, name) for name in theirs.pretrained_component_names}, guider=guider
    )
    state = theirs(
        prompt=["a cat"], num_inference_steps=STEPS, height=64, width=64,
        generator=[torch.Generator().manual_seed(0)],
    )  # fmt: skip
    assert same(mine, state.get("images")) and not same(mine, run(folder).media)


def test_an_interval_guides_in_its_steps_alone(saved):
    interval = run(saved("qwen"), [], "guidance=interval", "guidance.first=0.4", "guidance.last=0.6")
    assert interval.findings is not None and interval.findings["stages"][0]["evaluations"] == [1, 2, 1]


OTHER_TASKS = [
    ("qwen", "img2img", ("image=a.png", "strength=0.7"), {"image": [PHOTO], "strength": 0.7}),
    ("zimage", "img2img", ("image=a.png", "strength=0.7"), {"image": [PHOTO], "strength": 0.7}),
    ("anima", "img2img", ("image=a.png", "strength=0.7"), {"image": [PHOTO], "strength": 0.7}),
    ("flux", "img2img", ("image=a.png", "strength=0.7"), {"image": [PHOTO], "strength": 0.7}),
    ("klein", "edit", ("references=a.png",), {"image": PHOTO}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task", "more", "keywords"), OTHER_TASKS)
def test_workflows_do_other_tasks_as_diffusers_does(saved, tmp_path, monkeypatch, name, task, more, keywords):
    monkeypatch.chdir(tmp_path)
    PHOTO.save("a.png")
    assert same(run(saved(name), [], f"task={task}", *more).media, own_call(saved(name), **keywords))


@pytest.mark.slow
@pytest.mark.parametrize("name", modular.MAKERS)
def test_media_have_the_size_that_was_requested(saved, name):
    checkpoint = check(read(compose_config(words(saved(name))))).checkpoint
    height, width = 64 + checkpoint.size_multiple, 64 + 2 * checkpoint.size_multiple
    assert run(saved(name), [], f"height={height}", f"width={width}", "steps=1").media[0].size == (width, height)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model"), [("qwen", "transformer"), ("sdxl", "unet")])
def test_a_lora_changes_the_result_and_leaves_nothing(saved, tmp_path, name, model):
    folder, plain = saved(name), run(saved(name)).media
    shapes = {key: entry["shape"] for key, entry in read_header(weight_files(folder / model)[0]).items()}
    random, tensors = torch.Generator().manual_seed(0), {}
    for key in (key for key in shapes if key.endswith("to_q.weight")):
        layer, (rows, columns) = f"{model}.{key.removesuffix('.weight')}", shapes[key]
        tensors[f"{layer}.lora_A.weight"] = torch.randn(2, columns, generator=random)
        tensors[f"{layer}.lora_B.weight"] = torch.randn(rows, 2, generator=random)
    save_file(tensors, tmp_path / "a.safetensors")
    assert not same(run(folder, [], f"lora={tmp_path / 'a.safetensors'}").media, plain)
    assert same(run(folder).media, plain)


@pytest.mark.slow
@pytest.mark.parametrize("group", ["memory", "accel"])
@pytest.mark.parametrize("name", ["zimage", "sdxl", "anima"])
def test_options_that_are_offered_run_and_others_are_refused_by_check(saved, name, group):
    shown = getattr(find_offers(check(read(compose_config(words(saved(name)))))), group)
    assert shown
    for option in catalogue(conf_folders())[group]:
        if option == "compile":  # which takes minutes, and is tested by itself
            continue
        checked, ran = (
            refusal(call, *words(saved(name), "callbacks=[]", f"{group}=[{option}]"))
            for call in (composer.check, composer.compose)
        )
        assert checked == ran and (option not in shown or ran is None), option


def refusal(call: Any, *words: str) -> str | None:
    try:
        call(*words)
    except ComposerError as error:
        return str(error)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("option", ["onnx", "openvino"])
def test_converted_models_compute_what_blocks_ask_for(saved, option):
    pytest.importorskip({"onnx": "onnxruntime"}.get(option, option))
    (mine,), (plain,) = pixels(run(saved("sdxl"), [], f"accel=[{option}]").media), pixels(run(saved("sdxl")).media)
    assert np.abs(mine.astype(int) - plain.astype(int)).max() <= 2  # additions are done in another order


REFUSALS = [
    ("zimage", ("strength=0.5",), "strength"),
    ("klein", ("negative_prompt=blurry",), "Flux2KleinModularPipeline takes none"),
    ("flux", ("guidance=apg",), "guidance"),
    ("qwen", ("guidance=cfg", "guidance.rescale=0.5"), "norm of the positive branch"),
    ("zimage", ("task=inpaint", "image=sample:scene", "mask=sample:mask"), "use task=text2img or img2img"),
    ("zimage", ("height=72",), "multiple"),
    ("zimage", ("guidance=pag",), "can't reach into"),
    ("zimage", ("model.family=flux",), "exists only as blocks"),
    ("zimage", ("scheduler=euler",), "flow"),
]


@pytest.mark.parametrize(("name", "more", "reason"), REFUSALS)
def test_what_has_no_effect_is_refused_before_weights_load(compose, saved, name, more, reason):
    done = compose("check", *words(saved(name), *more))
    assert done.code == 2 and reason in done.err and done.err.count("\n") == 1


def test_check_and_show_say_what_runs(compose, saved):
    assert compose("check", *words(saved("qwen"))).code == 0
    shown = json.loads(compose("show", *words(saved("qwen"), "--json")).out)
    assert shown["engine"] == "modular"
    assert shown["offers"]["tasks"] == ["text2img", "img2img", "inpaint"]
    assert shown["offers"]["moments"] == ["before_step", "after_predict", "after_step", "after_decode"]
    guidance = ["apg", "apg_mix", "auto", "cfg", "cfg_zero", "interval", "mambo_g", "none", "tcfg"]
    assert shown["offers"]["guidance"] == guidance


def test_a_record_names_the_engine_and_reruns(compose, saved):
    assert compose(*words(saved("zimage"), "hydra.run.dir=out")).code == 0
    assert json.loads(Path("out/run.json").read_text())["engine"] == "modular"
    again = compose("rerun", "out/000.png", "--trust")
    assert again.code == 0 and "bit for bit" in again.out, again


@pytest.mark.slow
def test_a_sweep_makes_the_images_of_single_runs(compose, saved):
    done = compose(*words(saved("qwen"), "--multirun", "sweep.batch=1", "guidance.scale=2,4", "hydra.sweep.dir=all"))
    assert done.code == 0, done.err
    swept = sorted(Path("all").rglob("*.png"))
    singles = [run(saved("qwen"), [], f"guidance.scale={scale}").media[0] for scale in (2, 4)]
    images = [Image.open(file) for file in swept if file.name != "sheet.png"]
    assert all(any(same([single], [image]) for image in images) for single in singles)
