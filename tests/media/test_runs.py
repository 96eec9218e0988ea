"""Runs that make clips and sounds: their files, records, reruns, sweeps and callbacks, with tiny Wan and Stable
Audio.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import pytest
import soundfile
import zoo
from PIL import Image, PngImagePlugin
from safetensors.torch import load_file

import composer
from composer.errors import ComposerError
from composer.media import formats
from composer.records import metadata

pytestmark = pytest.mark.usefixtures("one_thread")
CLIP = ("task=text2video", "frames=5", "fps=16", "height=32", "width=32", "steps=2")
SOUND = ("task=text2audio", "seconds=0.5", "steps=2")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, tuple[str, ...]]:
    """Words of a run by kind of media."""
    root = tmp_path_factory.mktemp("media")
    sources = {
        "clip": (CLIP, zoo.save("wan", root / "wan")),
        "sound": (SOUND, zoo.save("stable_audio", root / "audio")),
    }
    return {kind: (*words, "model=local", f"model.source={source}") for kind, (words, source) in sources.items()}


@pytest.fixture(scope="module")
def run(saved, tmp_path_factory) -> dict[str, Path]:
    """Kind of media → folder of a run with two of it in the default format."""
    from composer.cli.main import main

    folder = tmp_path_factory.mktemp("runs")
    for kind, words in saved.items():
        assert main([*words, "images=2", f"output.folder={folder / kind}"]) == 0
    return {kind: folder / kind for kind in saved}


def test_a_player_library_reads_the_clip(run):
    assert {path.name for path in run["clip"].iterdir()} == {
        "000.mp4", "000.poster.jpg", "001.mp4", "001.poster.jpg", "grid.jpg", "run.json", "config.yaml",
    }  # fmt: skip
    with av.open(run["clip"] / "001.mp4") as container:
        video = container.streams.video[0]
        assert (video.frames, float(video.average_rate), video.width, video.height) == (5, 16, 32, 32)
        assert len(list(container.decode(video=0))) == 5
    assert Image.open(run["clip"] / "001.poster.jpg").size == (32, 32)


def test_a_player_library_reads_the_sound(run):
    rate = zoo.ZOO["stable_audio"].make().vae.sampling_rate
    samples, read = soundfile.read(run["sound"] / "001.wav", always_2d=True)
    assert read == rate and samples.shape == (rate // 2, 2)


def test_a_clip_that_begins_with_an_image_is_read_and_generated_again(compose, tmp_path):
    source = zoo.save("ltx_image2video", tmp_path / "ltx")
    words = ("model=local", f"model.source={source}", "task=image2video", "image=sample:scene", "frames=9", "steps=2")
    done = compose(*words, "height=32", "width=32", "fps=12", "output.folder=r")
    assert done.code == 0, done.err
    with av.open("r/000.mp4") as container:
        video = container.streams.video[0]
        assert (video.frames, float(video.average_rate), video.width, video.height) == (9, 12, 32, 32)
        assert len(list(container.decode(video=0))) == 9
    again = compose("rerun", "r/000.mp4", "output.folder=again", "--trust")
    assert again.code == 0 and "bit for bit" in again.out + again.err, again.err
    first, second = (json.loads(Path(folder, "run.json").read_text()) for folder in ("r", "again"))
    assert first["pixels"] == second["pixels"] and first["media"] == second["media"]


@pytest.mark.parametrize("kind", ["clip", "sound"])
@pytest.mark.parametrize("name", ["001.{}", "001.poster.jpg", "run.json"])
def test_a_file_alone_is_generated_again_bit_for_bit(compose, run, tmp_path, kind, name):
    name = name.format({"clip": "mp4", "sound": "wav"}[kind])
    shutil.copy(run[kind] / name, tmp_path / name)
    record = json.loads((run[kind] / "run.json").read_text())
    inside = record if name == "run.json" else {key: value for key, value in record.items() if key != "files"}
    assert metadata.read(tmp_path / name) == inside | {"number": None if name == "run.json" else 1}
    assert [entry["kind"] for entry in record["media"]] == [kind] * 2 and len(set(record["pixels"])) == 2
    info = compose("info", name)
    assert info.code == 0 and (f"{kind} 2 of 2" in info.out or f"2 {kind}s" in info.out)
    if name.startswith("001"):
        model = json.loads((run[kind] / "run.json").read_text())["config"]["model"]["source"]
        done = compose("rerun", name, f"model.source={model}", "output.folder=again")
        assert done.code == 0 and "bit for bit" in done.out + done.err, done.err
        again = json.loads(Path("again/run.json").read_text())
        assert again["pixels"][1] == record["pixels"][1] and again["media"] == record["media"]


def test_a_clip_that_differs_is_found(compose, run, tmp_path):
    record = json.loads((run["clip"] / "run.json").read_text())
    record["pixels"][0], record["media"][0]["fps"] = "0" * 64, 8
    (tmp_path / "run.json").write_text(json.dumps(record))
    done = compose("rerun", "run.json", f"model.source={record['config']['model']['source']}", "output.folder=again")
    assert done.code == 1 and "1 of 2 clips" in done.err and "fps was 8 and is 16" in done.err, done.err


@pytest.mark.parametrize(
    ("kind", "form", "names"),
    [
        ("clip", "webp", ["000.webp"]), ("clip", "gif", ["000.gif"]),
        ("clip", "frames", [f"000.frames/{i:04d}.png" for i in range(5)]), ("sound", "flac", ["000.flac"]),
    ],
)  # fmt: skip
def test_every_format_is_written_and_holds_the_record(compose, saved, kind, form, names):
    done = compose(*saved[kind], f"output={form}", "output.folder=r")
    assert done.code == 0, done.err
    record = json.loads(Path("r/run.json").read_text())
    del record["files"]  # hashes of the files, which no file can hold of itself
    written = {str(path.relative_to("r")) for path in Path("r").rglob("*") if path.is_file()}
    assert written == {*names, "000.poster.jpg", "run.json", "config.yaml"}
    for name in names:
        assert metadata.read(Path("r") / name) == record | {"number": 0}
    if form == "frames":
        assert metadata.read(metadata.record_file(Path("r/000.frames"))) == record | {"number": 0}
        assert "0000.png" not in done.out, "frames are no files beside the clip"


@pytest.mark.parametrize(
    ("kind", "form", "error"),
    [
        ("clip", "png", "output.format=png: holds images, and task=text2video makes clips"),
        ("clip", "wav", "output.format=wav: holds sounds, and task=text2video makes clips"),
        ("sound", "mp4", "output.format=mp4: holds clips, and task=text2audio makes sounds"),
    ],
)
def test_a_format_that_does_not_fit_is_refused_before_weights_load(compose, saved, monkeypatch, kind, form, error):
    for command in (["check"], []):
        done = compose(*command, *saved[kind], f"output={form}", "output.folder=r")
        assert done.code == 2 and error in done.err and not Path("r").exists()
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    done = compose("check", *saved["clip"], "output=mp4")
    assert done.code == 2 and "pip install 'diffusion-composer[video]'" in done.err


def test_images_keep_their_formats(compose):
    done = compose("output=gif", "steps=1")
    assert done.code == 2 and "output.format=gif: holds clips, and task=text2img makes images" in done.err


class ImagesOnly(composer.StepCallback):
    """One that declares nothing."""


class OfClips(composer.StepCallback):
    """Reverses clips."""

    media = frozenset({"clip"})

    def after_decode(self, run, images):
        return [composer.Clip(clip.frames[::-1], clip.fps) for clip in images]


def test_a_callback_says_what_it_works_on(saved):
    for kind, task in (("clip", "text2video"), ("sound", "text2audio")):
        with pytest.raises(ComposerError, match=rf"callbacks.ImagesOnly: works on images .*{task} makes {kind}s"):
            composer.check(*saved[kind], callbacks=[ImagesOnly()])
    with pytest.raises(ComposerError, match=r"works on clips .* makes images"):
        composer.check(callbacks=[OfClips()])
    with pytest.raises(ComposerError, match="preview: works on clips and images"):
        composer.check(*saved["sound"], "callbacks=[preview]")


def test_after_decode_gets_and_gives_clips(saved):
    plain = composer.compose(*saved["clip"], "callbacks=[]")
    turned = composer.compose(*saved["clip"], callbacks=[OfClips()])
    assert [frame.tobytes() for frame in turned.clip.frames] == [frame.tobytes() for frame in plain.clip.frames[::-1]]
    assert plain.image is plain.clip.poster() and plain.kind == "clip" and "1 clip" in repr(plain)
    assert plain._repr_html_().startswith("<video")
    with pytest.raises(ValueError, match="generated clips, and no sound"):
        _ = plain.sound


def test_diffusers_makes_the_same_clip_and_sound(saved):
    import torch
    from diffusers import DiffusionPipeline

    for kind, more in (("clip", {"num_frames": 5, "height": 32, "width": 32}), ("sound", {"audio_end_in_s": 0.5})):
        result = composer.compose(*saved[kind], "callbacks=[]", "seed=3", prompt="rain", guidance=3.0)
        pipe = DiffusionPipeline.from_pretrained(saved[kind][-1].partition("=")[2])
        pipe.set_progress_bar_config(disable=True)
        generator = [torch.Generator().manual_seed(3)]
        theirs = pipe(["rain"], num_inference_steps=2, guidance_scale=3.0, generator=generator, **more)
        if kind == "clip":
            pixels = (theirs.frames[0] * 255).round().astype("uint8")
            assert [frame.tobytes() for frame in result.clip.frames] == [frame.tobytes() for frame in pixels]
        else:
            assert result.sound.samples.tobytes() == theirs.audios[0].numpy().tobytes()


def test_built_in_callbacks_work_on_clips(compose, saved):
    names = "progress,nan_guard,trace,latents_save,preview,early_stop,dynamic_threshold,guidance_schedule"
    done = compose(*saved["clip"], f"callbacks=[{names}]", "output.folder=r", "images=2")
    assert done.code == 0, done.err
    assert load_file("r/latents-001.safetensors")["latents"].shape[:3] == (2, 16, 2)
    for i in range(2):
        animation = Image.open(f"r/preview-{i:03d}.webp")
        assert animation.size == (256, 256) and animation.n_frames >= 2  # equal frames at the end are merged


def test_built_in_callbacks_work_on_sounds(compose, saved):
    names = "progress,nan_guard,trace,latents_save,early_stop,dynamic_threshold,guidance_schedule"
    assert compose(*saved["sound"], f"callbacks=[{names}]", "output.folder=r").code == 0
    assert load_file("r/latents-001.safetensors")["latents"].ndim == 3


@pytest.mark.parametrize(("kind", "suffix"), [("clip", "mp4"), ("sound", "wav")])
def test_a_sweep_has_players_and_goes_on(compose, saved, kind, suffix):
    done = compose("-m", *saved[kind], "seed=0,1", "steps=1,2", "output.folder=s")
    assert done.code == 0, done.err
    text = Path("s/index.html").read_text()
    element = {"clip": "<video", "sound": "<audio"}[kind]
    assert text.count(element) == 4 and f"0003/000.{suffix}" in text and text.count("000.poster.jpg") >= 4
    assert Image.open("s/contact.png").size[0] > 100
    stays = Path(f"s/0000/000.{suffix}").read_bytes()
    Path(f"s/0001/000.{suffix}").unlink()
    with Path("s/0002/000.poster.jpg").open("ab") as file:
        file.write(b"x")
    again = compose("resume", "s")
    assert again.code == 0 and "2 generated, 2 were there already" in again.out, again.err
    assert Path(f"s/0000/000.{suffix}").read_bytes() == stays
    single = compose("rerun", f"s/0002/000.{suffix}", "output.folder=one", "--trust")
    assert single.code == 0 and "bit for bit" in single.out + single.err


def test_a_search_compares_images_only(compose, saved):
    done = compose(
        "-m", "hydra/sweeper=optuna", *saved["clip"], "steps=interval(1,3)", "search.reference=sample:scene",
        "search.within=9",
    )  # fmt: skip
    assert done.code == 2 and "compares images, and task=text2video makes clips" in done.err, done.err


HOSTILE = {
    "target": (lambda record: record["config"].update(task={"_target_": "os.system"}), None),
    "output": (lambda record: record["config"]["output"].update(folder="/tmp/elsewhere"), None),
    "format": (lambda record: record["config"]["output"].update(format="exe"), "output.format"),
    "other_format": (lambda record: record["config"]["output"].update(format="png"), "holds images"),
    "model": (lambda record: record["config"]["model"].update(source="/etc"), "--trust"),
    "media": (lambda record: record.update(media=[{"kind": "exe"}]), "does not describe its clips"),
    "media_count": (lambda record: record.update(media=[]), "does not describe its clips"),
    "media_text": (lambda record: record.update(media="clip"), "does not describe its clips"),
    "long": (lambda record: record["config"].update(prompt="x" * 300_000), "longer than"),
}


@pytest.mark.parametrize("form", ["mp4", "wav", "flac", "gif"])
def test_hostile_records_are_refused_in_every_format(compose, run, form):
    """The rules are the readers' of images; each format leads to them."""
    kind = "clip" if form in ("mp4", "gif") else "sound"
    honest = json.loads((run[kind] / "run.json").read_text()) | {"number": 0}
    medium = media(kind)
    for name, (change, reason) in HOSTILE.items():
        record = json.loads(json.dumps(honest))
        change(record)
        text = json.dumps(record, separators=(",", ":"))
        options = {"options": {"comment": text}} if form == "gif" else {"texts": {"comment": text}}
        Path(f"{name}.{form}").write_bytes(medium.encode(form, **options))
        if reason is not None:
            source = [] if reason == "--trust" else [f"model.source={honest['config']['model']['source']}"]
            done = compose("rerun", f"{name}.{form}", "output.folder=out", *source)
            last = done.err.rstrip("\n").splitlines()[-1]
            assert done.code == 2 and last.startswith("compose: ") and reason in last, (name, done.err)
    assert not Path("out").exists() and not Path("/tmp/elsewhere").exists()


def media(kind: str):
    import numpy as np

    if kind == "clip":
        return composer.Clip([Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(2)], 8)
    return composer.Sound(np.zeros((1, 64), np.float32), 8000)


def test_texts_of_other_tools_are_shown(compose):
    Path("a.mp4").write_bytes(media("clip").encode("mp4", texts={"comment": "by another tool"}))
    done = compose("info", "a.mp4")
    assert done.code == 0 and "no record of composer's" in done.out and "by another tool" in done.out
    Path("b.mp4").write_bytes(media("clip").encode("mp4"))
    for name in ("a.mp4", "b.mp4"):
        assert compose("rerun", name).code == 2


def test_a_record_of_images_says_nothing_of_media(compose):
    assert compose("steps=1", "output.folder=r", "height=32", "width=32", "callbacks=[]").code == 0
    record = json.loads(Path("r/run.json").read_text())
    assert "media" not in record and record["config"]["output"]["format"] == "png" and record["width"] == 32
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(metadata.KEY, json.dumps(record | {"number": 0, "media": None}))
    Image.new("RGB", (8, 8)).save("a.png", pnginfo=chunks)
    assert metadata.read(Path("a.png"))["media"] is None


def test_memory_estimates_count_frames_and_samples(saved):
    import torch

    from composer.api.requests import request_of
    from composer.checks.compatibility import check
    from composer.loading.precision import DtypePlan
    from composer.options.memory.estimate import estimate

    def working(kind: str, *words: str):
        checked = check(request_of([*saved[kind], *words], {}, None)[0])
        return estimate(checked, DtypePlan(torch.float32))

    one, five, nine = (working("clip", f"frames={frames}") for frames in (1, 5, 9))
    assert five.denoising == 2 * one.denoising and nine.denoising == 3 * one.denoising  # latent frames
    # Wan's decoder keeps 4 frames at a time, so that more frames add their own pixels alone, of RGB in fp32
    assert nine.decoding - five.decoding == 4 * 32 * 32 * 3 * 4
    assert five.decoding > 4 * one.decoding
    half, second = (working("sound", f"seconds={seconds}") for seconds in (0.5, 1))
    assert second.decoding == 2 * half.decoding > 0 and second.denoising == 2 * half.denoising > 0
    assert working("clip", "images=2").decoding == 2 * five.decoding
