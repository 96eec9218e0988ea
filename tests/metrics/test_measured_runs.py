"""Metrics of runs, sweeps, recipes and searches: the same values everywhere, and no image that is another one."""

from __future__ import annotations

import csv
import json
import re

import pytest
from PIL import Image

import composer
from composer.errors import ComposerError
from composer.loading import loader
from composer.metrics.base import Metric
from composer.metrics.sharpness import Sharpness
from composer.records.measured import measured
from composer.records.result import Result

from .tiny_clip import save_clip

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ("height=64", "width=64", "steps=2")
MEASURED = ("metric=[distance,sharpness]", "metric.distance.reference=ref.png")


@pytest.fixture
def reference(compose, tmp_path):
    """A reference image in the current directory."""
    Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / "ref.png")
    return tmp_path / "ref.png"


def record(folder) -> dict:
    return json.loads((folder / "run.json").read_text("utf-8"))


def values(folder) -> dict[str, list[float]]:
    return {name: one["values"] for name, one in record(folder)["metrics"].items()}


def test_a_run_has_values_changes_no_image_and_a_rerun_gives_them_again(compose, tmp_path, reference):
    done = compose(*MEASURED, *SMALL, "images=2", "output.folder=a")
    assert done.code == 0 and "mean sharpness" in done.out, done.err
    assert compose(*SMALL, "images=2", "output.folder=plain").code == 0
    assert record(tmp_path / "a")["pixels"] == record(tmp_path / "plain")["pixels"]
    assert "metrics" not in record(tmp_path / "plain") and "metric" not in record(tmp_path / "plain")["options"]

    images = [Image.open(tmp_path / f"a/00{i}.png").convert("RGB") for i in range(2)]
    assert values(tmp_path / "a")["sharpness"] == [Sharpness().measure(image, "", "cpu") for image in images]
    assert compose("rerun", "a/run.json", "output.folder=again").code == 0
    assert values(tmp_path / "again") == values(tmp_path / "a")
    assert compose("rerun", "a/001.png", "output.folder=one").code == 0
    assert values(tmp_path / "one")["sharpness"] == [None, values(tmp_path / "a")["sharpness"][1]]
    assert "metrics    distance" in compose("info", "a/001.png").out
    without = compose("rerun", "a/run.json", "metric=[]", "output.folder=without")
    assert without.code == 0 and "metrics" not in record(tmp_path / "without")


def test_from_python_values_are_in_the_result(tmp_path):
    clip = save_clip(tmp_path / "clip")
    prompts = ["(a red cone:1.3)", "a blue cube"]
    words = ("metric=[clip_score]", f"metric.clip_score.model={clip}", "prompt_syntax=weights", *SMALL)
    result = composer.compose(*words, prompt=prompts)
    from composer.metrics.clip_score import ClipScore

    expected = [
        ClipScore(str(clip)).measure(image, prompt, "cpu")
        for image, prompt in zip(result.images, ["a red cone", "a blue cube"], strict=True)
    ]
    assert list(result.metrics["clip_score"]) == expected


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["metric=[distance]"], "metric.distance.reference: an image to compare with is needed"),
        (["metric=[sharpness]", "metric.sharpness.level=3"], "metric.sharpness.level=3"),
        (["metric=[sharpnes]"], "Did you mean sharpness?"),
        (["metric.sharpness.level=3"], "metric.sharpness"),
        (
            ["metric=[distance]", "metric.distance.reference=sample:scene"],
            "512 x 512 pixels, and the images are 64 x 64",
        ),
        (["metric=[distance]", "metric.distance.method=psnr"], "metric.distance.method=psnr"),
        (["metric=[clip_score]"], "metric.clip_score.model: a CLIP model is needed"),
    ],
)
def test_what_would_do_nothing_is_refused_before_weights_load(compose, monkeypatch, words, reason):
    def loads(*args, **settings):
        raise AssertionError("weights are loaded")

    monkeypatch.setattr(loader, "load", loads)
    done = compose(*words, *SMALL)
    assert done.code == 2 and reason in done.err and done.err.count("\n") == 1, done.err
    assert compose("check", *words, *SMALL).err == done.err


class Fails(Metric):
    def measure(self, image, prompt, device):
        image.paste("white", (0, 0, 4, 4))
        raise ValueError("it is too dark")


def test_a_metric_that_fails_costs_no_image():
    image = Image.new("RGB", (8, 8))
    result = Result(media=[image], seeds=(0,), seconds=0.0, iterations=1, record={"notes": []})
    result = measured(result, {"fails": Fails(), "sharpness": Sharpness()}, ("",), "cpu")
    assert result.metrics == {"fails": (None,), "sharpness": (0.0,)} and image.getbbox() is None
    assert result.notes == ("metric=fails has no value: ValueError: it is too dark",)
    assert result.record["notes"] == list(result.notes)


@pytest.mark.parametrize("batch", [pytest.param("1", marks=pytest.mark.slow), "4"])
def test_a_sweep_measures_each_job_as_a_single_run_does(compose, tmp_path, reference, batch):
    words = ("seed=1,2,3,4", *MEASURED, *SMALL, f"sweep.batch={batch}")
    done = compose("-m", *words, "sheet.sort=distance", "output.folder=s")
    assert done.code == 0 and "best distance" in done.out + done.err, done.err
    jobs = {int(record(folder)["images"][0]["seed"]): folder for folder in sorted((tmp_path / "s").glob("0*"))}
    assert any("together" in record(folder) and record(folder)["together"] for folder in jobs.values()) == (
        batch != "1"
    )
    assert compose("seed=3", *MEASURED, *SMALL, "output.folder=single").code == 0
    single = values(tmp_path / "single")
    for name, (value,) in values(jobs[3]).items():
        assert value == pytest.approx(single[name][0], rel=0 if batch == "1" else 0.02)

    page = (tmp_path / "s/index.html").read_text("utf-8")
    shown = [int(seed) for seed in re.findall(r'<img [^>]*alt="job \d+: seed = (\d)', page)]
    assert shown == sorted(jobs, key=lambda seed: values(jobs[seed])["distance"][0])
    assert 'aria-sort="ascending" class="right"><button type="button">distance' in page
    assert len(re.findall('class="metric"|class="metric best"', page)) == 8 and page.count('class="metric best"') == 2
    table = list(csv.DictReader((tmp_path / "s/results.csv").open()))
    assert [float(row["metric.distance"]) for row in table] == [values(jobs[n])["distance"][0] for n in (1, 2, 3, 4)]

    status = json.loads(compose("status", "s", "--json").out)
    assert [job["metrics"]["sharpness"] for job in status["jobs"]] == [float(row["metric.sharpness"]) for row in table]
    assert "best distance" in compose("status", "s").out
    assert "4 were there already" in compose("-m", *words, "output.folder=s").out
    assert "4 generated" in compose("-m", *words, "metric.distance.method=mae", "output.folder=s").out


def test_resume_keeps_the_order(compose, tmp_path):
    assert compose("-m", "seed=1,2", "metric=[sharpness]", "sheet.sort=sharpness", *SMALL, "output.folder=s").code == 0
    page = (tmp_path / "s/index.html").read_bytes()
    assert compose("resume", "s").code == 0 and (tmp_path / "s/index.html").read_bytes() == page


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["sheet.sort=sharpnes", "metric=[sharpness]"], "Did you mean sharpness?"),
        (["sheet.sort=sharpness"], "is measured of no job"),
        (["sheet.sort=seconds", "sheet.x=seed"], "leave out sheet.x"),
    ],
)
def test_an_order_without_meaning_is_refused(compose, tmp_path, words, reason):
    done = compose("-m", "seed=1,2", *words, *SMALL, "output.folder=s")
    assert done.code == 2 and reason in done.err and not (tmp_path / "s").exists()


def test_jobs_can_be_ordered_by_time_without_metrics(compose, tmp_path):
    assert compose("-m", "steps=4,1", "sheet.sort=seconds", "height=64", "width=64", "output.folder=s").code == 0
    page = (tmp_path / "s/index.html").read_text("utf-8")
    assert re.findall(r'alt="job \d: steps = (\d)', page)[0] in "14" and 'class="metric' not in page


RECIPE = """# Two steps.
prompt: a red cone
steps:
  base: {task: text2img, height: 64, width: 64, steps: 2}
  small: {tool: resize, image: 'step:base', factor: 0.5}
"""


@pytest.mark.parametrize("last", ["tool", pytest.param("run", marks=pytest.mark.slow)])
def test_of_a_recipe_the_last_step_is_measured(compose, tmp_path, monkeypatch, last):
    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    clip = save_clip(tmp_path / "clip")
    (tmp_path / "conf" / "recipe").mkdir(parents=True)
    (tmp_path / "conf" / ".composer").touch()
    further = "" if last == "tool" else "  again: {task: img2img, image: 'step:small', steps: 2, strength: 0.5}\n"
    (tmp_path / "conf" / "recipe" / "two.yaml").write_text(RECIPE + further)
    words = ("recipe=two", "metric=[clip_score,sharpness]", f"metric.clip_score.model={clip}")
    done = compose(*words, "output.folder=r")
    assert done.code == 0, done.err
    from composer.metrics.clip_score import ClipScore

    image = Image.open(tmp_path / "r/000.png").convert("RGB")
    assert image.size == (32, 32)
    expected = {
        "clip_score": [ClipScore(str(clip)).measure(image, "a red cone", "cpu")],
        "sharpness": [Sharpness().measure(image, "", "cpu")],
    }
    assert values(tmp_path / "r") == expected and "metrics" not in record(tmp_path / "r/base")
    assert compose("rerun", "r/000.png", "output.folder=again").code == 0
    assert values(tmp_path / "again") == expected

    reused = compose("recipe=two", "metric=[sharpness]", "output.folder=other")
    assert reused.err.count("made before with the same settings") == 2, reused.err
    assert values(tmp_path / "other") == {"sharpness": expected["sharpness"]}
    wrong = compose("recipe=two", "metric=[distance]", "metric.distance.reference=sample:scene")
    assert wrong.code == 2 and "512 x 512 pixels, and the images are 32 x 32" in wrong.err

    sweep = compose("-m", *words[:1], "metric=[sharpness]", "seed=1,2", "sheet.sort=sharpness", "output.folder=s")
    assert sweep.code == 0 and "best sharpness" in sweep.out + sweep.err
    assert {tuple(values(folder)) for folder in (tmp_path / "s").glob("0*")} == {("sharpness",)}


SEARCH = ("-m", "hydra/sweeper=optuna", "steps=range(1,4)", "scheduler=euler,ddim", "height=64", "width=64")


@pytest.mark.slow
def test_a_search_finds_what_is_best_by_a_metric(compose, tmp_path, reference):
    words = (*SEARCH, *MEASURED, "search.trials=6", "output.folder=s")
    for name, better in (("sharpness", max), ("distance", min)):
        done = compose(*words, f"search.metric={name}")
        assert done.code == 0, done.err
        of = [record(folder)["metrics"][name]["values"][0] for folder in (tmp_path / "s").glob("0*")]
        (line,) = (line for line in done.out.splitlines() if line.startswith("best: "))
        best = next(folder for folder in (tmp_path / "s").glob("0*")
                     if record(folder)["metrics"][name]["values"][0] == better(of))  # fmt: skip
        assert len(of) == 6 and all(f"{k}={v}" in line for k, v in record(best)["sweep"]["values"].items())


def test_a_search_for_several_prints_all_that_none_is_better_than(compose, tmp_path, reference):
    done = compose(
        *SEARCH, *MEASURED, "search.trials=6", "search.metric=[sharpness,distance]", "output.folder=s", "--json"
    )
    best = {tuple(record(folder)["sweep"]["values"].values()): values(folder) for folder in (tmp_path / "s").glob("0*")}
    of = {point: (-one["sharpness"][0], one["distance"][0]) for point, one in best.items()}
    front = [
        point for point, (a, b) in of.items() if not any(c <= a and d <= b and (c, d) != (a, b) for c, d in of.values())
    ]
    facts = json.loads(done.out)
    assert len(facts["front"]) == len(front) and facts["best"] == facts["front"][0]
    assert all(any(f"steps={s} scheduler={n}" in line for line in facts["front"]) for s, n in front)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["search.metric=sharpnes", "metric=[sharpness]"], "Did you mean sharpness?"),
        (["search.metric=sharpness"], "is measured of no trial"),
        (["search.metric=[seconds,seconds]"], "each once"),
        (["search.metric=[]"], "at least one metric"),
        ([*MEASURED, "search.reference=steps=4"], "leave one of them out"),
    ],
)
def test_an_objective_without_meaning_is_refused(compose, reference, words, reason):
    done = compose(*SEARCH, *words)
    assert done.code == 2 and reason in done.err and done.err.count("\n") == 1, done.err


def test_objects_of_plugins_are_checked_by_their_annotations():
    from composer.metrics.distance import Distance

    with pytest.raises(ComposerError, match=r"metric\.distance\.method"):
        Distance(method="psnr")  # type: ignore[arg-type]
