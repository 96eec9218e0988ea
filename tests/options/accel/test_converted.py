"""OpenVINO and ONNX Runtime instead of torch for UNet, transformer and VAE: results are close, models are converted
once, and nothing of it remains.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec

import pytest
import torch
from tiers import slow_but

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.loading import disk_cache
from composer.loading.precision import MIN_BYTES_FOR_16_BITS, fastest_dtype
from composer.options.accel.converted_forward import converted
from composer.options.accel.inputs import nested, parted
from composer.options.accel.openvino import Vino
from composer.options.lifecycle import remove_options
from composer.pipelines.build import build_pipeline
from composer.sampling.embedding_cache import EmbeddingCache, use_embedding_cache
from composer.testing import pipelines
from composer.testing.conformance import same
from composer.testing.runs import SIZES

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("one_thread")

VINO, ONNX = "accel=[openvino]", "accel=[onnx]"
BOTH = pytest.mark.parametrize("option", [VINO, ONNX])
#: What the two share is shown by the quicker one.
SLOW_VINO = pytest.mark.parametrize("option", [pytest.param(VINO, marks=pytest.mark.slow), ONNX])
#: fp32 additions in another order, over a few steps of a tiny model whose latents are about 1.
NEAR = 1e-3
#: An image's steps of 1/255, as rounding may fall on the other side.
PIXEL = 1


class Looks(composer.StepCallback):
    """Latents after each step."""

    def __init__(self) -> None:
        self.latents = []

    def after_step(self, step, latents):
        self.latents.append(latents.clone())


class Bench:
    """Runs of tiny checkpoints, with a cache of their own."""

    def __init__(self, root) -> None:
        self.root, self.checkpoints = root, {}

    def source(self, family):
        if family not in self.checkpoints:
            self.checkpoints[family] = pipelines.save(family, self.root / family)
        return self.checkpoints[family]

    def built(self, family, *words, more=()):
        side = SIZES[family.removesuffix("_inpaint")]
        usual = ["task=unconditional"] if family == "ddpm" else ["prompt=a cat", f"height={side}", f"width={side}"]
        begun = [
            "model=local",
            f"model.source={self.source(family)}",
            "callbacks=[]",
            "device=cpu",
            "steps=3",
            *usual,
            *words,
        ]
        checked = check(read(compose_config(begun)))
        return build_pipeline(checked, list(more)), checked.request

    def run(self, family, *words, more=()):
        looks = Looks()
        pipeline, request = self.built(family, *words, more=[looks, *more])
        return pipeline(request), looks.latents, pipeline.family.modules


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    root = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPOSER_CACHE", str(root / "cache"))
        yield Bench(root)
        remove_options()


def close(one, other):
    distance = max((a - b).abs().max().item() for a, b in zip(one[1], other[1], strict=True))
    pixels = [torch.tensor([[*image.tobytes()] for image in run[0].images], dtype=int) for run in (one, other)]
    return 0 < distance <= NEAR and (pixels[0] - pixels[1]).abs().max() <= PIXEL


#: The larger models are many seconds each.
OFTEN = ((ONNX, "sd"), (ONNX, "ddpm"), (VINO, "ddpm"))
FAMILIES = [(option, family) for option in (VINO, ONNX) for family in SIZES if (option, family) != (ONNX, "flux")]


@pytest.mark.parametrize(("option", "family"), slow_but(OFTEN, FAMILIES))
def test_near_to_the_model_and_the_next_run_is_as_if_it_had_not_been(bench, option, family):
    plain = bench.run(family)
    on = bench.run(family, option)
    again = bench.run(family)
    assert close(plain, on)
    assert same(plain[0], again[0]) and all(map(torch.equal, plain[1], again[1]))
    assert not any("forward" in vars(module) for model in plain[2].values() for module in model.modules())


@pytest.mark.parametrize(("option", "family"), slow_but(OFTEN[1:2], FAMILIES))
def test_other_batches_sizes_texts_and_tasks_take_the_same_converted_model(bench, option, family):
    bench.run(family, option)
    before = sum(converted.values())
    kinds = [["images=3"], ["images=2", "scheduler=flow_heun" if family in ("sd3", "flux") else "scheduler=heun"]]
    if family != "ddpm":
        side = SIZES[family]
        kinds += [["guidance=none"], [f"height={2 * side}"], [f"width={side + side // 2}", "images=2"]]
        kinds += [[f"task={task}", "image=sample:scene", "steps=6", "strength=0.6"] for task in ("img2img", "inpaint")]
    for kind in kinds:
        assert close(bench.run(family, *kind), bench.run(family, *kind, option)), kind
    assert sum(converted.values()) - before <= (family != "ddpm")  # the VAE's encoder


@pytest.mark.slow  # one more UNet to convert
@BOTH
def test_inpainting_with_nine_channels(bench, option):
    words = ["task=inpaint", "image=sample:scene", "steps=4"]
    assert close(bench.run("sd_inpaint", *words), bench.run("sd_inpaint", *words, option))


@SLOW_VINO
def test_sides_that_do_not_halve_evenly(bench, option):
    """The UNet cuts on its way up: another program than for even ones, even if that was there first."""
    for words in (["height=64"], ["height=72"], ["height=64"], ["height=72", "width=88", "images=2"]):
        assert close(bench.run("sd", *words), bench.run("sd", *words, option)), words


@SLOW_VINO
def test_tiles_and_slices_of_the_vae_go_through_it(bench, option):
    words = ["height=128", "width=128", "images=2", "memory=[vae_slicing,vae_tiling]"]
    assert close(bench.run("sd", *words), bench.run("sd", *words, option))


@pytest.mark.slow  # compiles for each size
def test_static_shapes_give_the_same_and_every_size_is_compiled_for_itself(bench):
    static = [VINO, "accel.openvino.static=true"]
    for words in ([], ["images=2"], ["height=128"], []):
        assert close(bench.run("sd", *words), bench.run("sd", *words, *static)), words


@pytest.mark.slow  # converts a UNet and a VAE
def test_weights_in_8_bits_are_near_and_are_not_those_of_another_run(bench):
    """Rounding to 8 bits moves a weight by at most 1/254 of its row's largest; the latents of three steps follow."""
    pytest.importorskip("nncf")
    plain, full = bench.run("sd"), bench.run("sd", VINO)
    small = bench.run("sd", VINO, "accel.openvino.weights=int8")
    distance = (small[1][-1] - plain[1][-1]).norm() / plain[1][-1].norm()
    assert NEAR < distance < 0.1
    assert same(full[0], bench.run("sd", VINO)[0])


@pytest.mark.skipif(bool(find_spec("nncf")), reason="nncf is installed here")
def test_weights_in_8_bits_need_nncf(bench):
    with pytest.raises(ComposerError, match=r"accel.openvino.weights=int8: needs the package nncf: pip install"):
        bench.built("sd", VINO, "accel.openvino.weights=int8")


@pytest.mark.slow  # half a minute of converting
def test_bf16_is_as_far_from_fp32_as_that_of_torch(bench):
    """Both round at 2⁻⁸, one here and the other there: OpenVINO may go twice as far as torch, and must not give
    fp32.
    """
    if not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this CPU has no units for bf16")
    plain, half = bench.run("sd")[1][-1], bench.run("sd", "precision=bf16")[1][-1].float()
    one, other = (
        bench.run("sd", VINO, "accel.openvino.precision=bf16")[1][-1],
        bench.run("sd", VINO, "precision=bf16")[1][-1].float(),
    )
    allowed = 2 * (half - plain).abs().max()
    assert NEAR < (one - plain).abs().max() <= allowed and NEAR < (other - plain).abs().max() <= allowed


@pytest.mark.slow  # converts a large UNet for the sake of its VAE
def test_a_vae_that_encodes_in_fp32_beside_bf16(bench):
    """SDXL's, as `force_upcast` says: its weights change their dtype for a moment, and the stand-in with them."""
    pixels, results = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1, []
    units = (
        fastest_dtype(torch.device("cpu"), MIN_BYTES_FOR_16_BITS) == torch.bfloat16
    )  # without them OpenVINO's bf16 is refused
    for words in ([], [VINO], *([[VINO, "accel.openvino.precision=bf16"]] if units else [])):
        pipeline, request = bench.built("sdxl", "precision=bf16", *words)
        assert pipeline.family.pipe.vae.config.force_upcast
        with torch.no_grad(), pipeline.options_active(request):
            results.append(pipeline.family.encode_image(pixels, (torch.Generator().manual_seed(0),)).float())
    plain, on, *halves = results
    assert ((plain - on).abs() <= 2**-7 * plain.abs()).all()  # at most the next number of bf16
    assert all(not ((plain - half).abs() <= 2**-7 * plain.abs()).all() for half in halves)


@SLOW_VINO
def test_embeddings_are_not_reused_by_jobs_without_the_option(bench, option):
    words = ["task=img2img", "image=sample:scene", "steps=4", "strength=0.5"]
    with use_embedding_cache(EmbeddingCache()):
        plain, on, again = bench.run("sd", *words), bench.run("sd", *words, option), bench.run("sd", *words)
    assert all(map(torch.equal, plain[1], again[1])) and close(plain, on)
    with use_embedding_cache(EmbeddingCache()):
        first = bench.run("sd", *words, option)
    assert all(map(torch.equal, on[1], first[1]))


def test_a_signal_is_handled_after_models_were_closed(tmp_path):
    """OpenVINO's plugin sets memory for signals aside, and as it goes puts back what was there before: of two, the
    other's, freed.
    """
    Vino().convert(torch.nn.Linear(2, 2), {"x": torch.zeros(1, 2)}, tmp_path)
    programs = [Vino().compile(tmp_path, []) for _ in range(2)]
    while programs:
        programs.pop(0)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@SLOW_VINO
def test_components_alone(bench, option):
    plain, key = bench.run("sd"), "accel.onnx" if option == ONNX else "accel.openvino"
    unet, vae = (bench.run("sd", option, f"{key}.components=[{name}]") for name in ("unet", "vae"))
    assert not torch.equal(unet[1][-1], plain[1][-1]) and all(map(torch.equal, vae[1], plain[1]))
    assert close(plain, unet)


SCRIPT = """
import sys
from composer.options.accel.converted_forward import converted
from composer.cli.main import main
code = main(sys.argv[1:])
print("converted", sum(converted.values()))
sys.exit(code)
"""


@pytest.mark.slow  # half a minute of processes
@BOTH
def test_another_process_takes_what_one_converted_and_a_sweep_converts_once(bench, option, tmp_path):
    words = [
        f"model.source={bench.source('sd')}",
        "model=local",
        "prompt=a cat",
        "height=64",
        "width=64",
        "steps=2",
        option,
    ]
    words += ["device=cpu", "callbacks=[]"]
    env = os.environ | {"COMPOSER_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    counted = []
    for more in (["-m", "seed=1,2"], []):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *more, *words], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        counted.append(int(done.stdout.rpartition("converted ")[2]))
    assert counted == [2, 0]  # UNet and the VAE's decoder


@pytest.mark.slow  # converts three times
def test_altered_weights_are_another_model(bench):
    pipeline, request = bench.built("sd", VINO)
    before = pipeline(request)
    remove_options()
    weight = pipeline.family.denoiser.conv_out.bias
    kept = weight.data.clone()
    try:
        weight.data += 0.5  # which no file and no version counter shows
        after = pipeline(request)
    finally:
        remove_options()
        weight.data.copy_(kept)
    assert not same(before, after) and same(before, pipeline(request))


def test_without_a_cache_and_with_one_that_cannot_be_written(bench, tmp_path, monkeypatch):
    plain, known = bench.run("ddpm"), len(disk_cache.entries())
    remove_options()
    assert close(plain, bench.run("ddpm", ONNX, "precision.cache=false"))
    (tmp_path / "file").write_text("")
    remove_options()
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "file"))
    before = sum(converted.values())
    assert close(plain, bench.run("ddpm", ONNX)) and sum(converted.values()) > before
    remove_options()
    monkeypatch.undo()
    assert len(disk_cache.entries()) == known


class Hooks(composer.StepCallback):
    """Reaches into the UNet by a hook, a processor or a weight."""

    def __init__(self, how) -> None:
        self.how = how

    @contextmanager
    def around(self, run):
        unet = run.modules["unet"]
        attention, block = next(module for module in unet.modules() if hasattr(module, "processor")), unet.mid_block
        before = attention.processor
        handle = block.register_forward_hook(lambda *_: None) if self.how == "hook" else None
        if self.how == "processor":
            attention.processor = type(before)()
        if self.how == "weights":
            unet.conv_out.bias.add_(0)
        try:
            yield
        finally:
            attention.processor = before
            if handle is not None:
                handle.remove()


@BOTH
@pytest.mark.parametrize(
    ("how", "message"), [("hook", "mid_block was"), ("processor", ".attn1 was"), ("weights", "weights were written")]
)
def test_changes_that_a_converted_model_would_not_see_are_refused(bench, option, how, message):
    with pytest.raises(ComposerError, match="which a converted model does not see") as caught:
        bench.run("sd", option, more=[Hooks(how)])
    assert message in str(caught.value) and "\n" not in str(caught.value)


REFUSED = [
    (
        "sd",
        [VINO, "accel.openvino.precision=int8"],
        "accel.openvino.precision=int8: is not known (allowed: auto, bf16, fp32)",
    ),
    (
        "sd",
        [VINO, "accel.openvino.components=[transformer]"],
        "accel.openvino.components=transformer: is none that can be converted here",
    ),
    (
        "ddpm",
        [ONNX, "accel.onnx.components=[vae]"],
        "accel.onnx.components=vae: is none that can be converted here (allowed: unet)",
    ),
    ("sd", [VINO, "accel.openvino.components=unet"], "accel.openvino.components=unet: must be a list of texts"),
    ("sd", [VINO, "accel.openvino.components=[]"], "accel.openvino.components=[]: must be a list of texts"),
    ("sd", ["accel=[openvino,onnx]"], "accel=openvino: can't be together with accel=onnx"),
    ("sd", ["accel=[openvino,compile]"], "accel=openvino: can't be together with accel=compile"),
    ("sd", ["accel=[openvino,deepcache]"], "accel=deepcache: can't be together with accel=openvino"),
    ("sd", ["accel=[openvino,channels_last]"], "accel=openvino: can't be together with accel=channels_last"),
    ("sd", ["accel=[onnx,fused_qkv]"], "accel=fused_qkv: can't be together with accel=onnx"),
    ("sd", [VINO, "memory=[attention_slicing]"], "memory=attention_slicing"),
    (
        "sd",
        [VINO, "guidance=pag"],
        "guidance=pag: weakens layers of the model, which accel=openvino replaces",
    ),
    ("sd3", [ONNX, "guidance=slg"], "guidance=slg: weakens layers of the model"),
    ("sd", [ONNX, "precision=bf16"], "accel=onnx: computes in fp32 alone, and the unet would not: precision=fp32"),
    ("flux", [ONNX], "accel=onnx: torch can't write a FluxTransformer2DModel as ONNX: use accel=[openvino]"),
]


@pytest.mark.parametrize(
    ("family", "words", "message"), REFUSED, ids=[f"{family}-{words[-1]}" for family, words, _ in REFUSED]
)
def test_what_would_do_nothing_or_cannot_be_is_refused(bench, family, words, message):
    with pytest.raises(ComposerError) as caught:
        bench.built(family, *words)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_without_the_package_or_the_units(bench, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("composer.options.accel.converted.find_spec", lambda name: None)
        with pytest.raises(
            ComposerError,
            match=r"^accel=openvino: needs the package openvino: pip install 'diffusion-composer\[openvino\]'$",
        ):
            bench.built("sd", VINO)
    monkeypatch.setattr("composer.loading.precision._native_on_cpu", lambda: False)
    with pytest.raises(ComposerError, match=r"^accel.openvino.precision=bf16: this CPU has no units for it"):
        bench.built("sd", VINO, "accel.openvino.precision=bf16")


def test_a_call_parted_and_put_together_again():
    one = torch.zeros(1)
    tensors, fixed = parted({"sample": one, "timestep": 7, "added": {"a": one, "b": None}, "flag": True, "none": None})
    assert [*tensors] == ["sample", "timestep", "added.a"] and tensors["timestep"] == 7.0
    assert fixed == {"added": {"b": None}, "flag": True, "none": None}
    together = {
        "sample": one,
        "timestep": tensors["timestep"],
        "added": {"a": one, "b": None},
        "flag": True,
        "none": None,
    }
    assert nested(tensors, fixed) == together and fixed["added"] == {"b": None}
    with pytest.raises(ValueError, match="its argument residuals is a list, which no converted model takes"):
        parted({"residuals": [one]})
