"""The service runs recipes: progress over all steps, the images of each, records, and what requests may not set."""

from __future__ import annotations

import io
import json

import httpx
import pytest
from PIL import Image
from served import start

import composer

RECIPE = """# Three steps, and what is near.
prompt: a red cone
steps:
  base: {task: text2img, height: 64, width: 64, steps: 3}
  larger: {tool: resize, image: 'step:base', factor: 1.5}
  near: {tool: depth, image: 'step:base'}
  again: {task: img2img, image: 'step:larger', steps: 4, strength: 0.5}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "conf" / "recipe").mkdir(parents=True)
    (folder / "conf" / ".composer").touch()
    (folder / "conf" / "recipe" / "three.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPOSER_CACHE", str(folder / "cache"))
        running = start(folder)
    yield running
    running.stop()


def pixels(url: str) -> bytes:
    return Image.open(io.BytesIO(httpx.get(url).content)).convert("RGB").tobytes()


def test_a_recipe_has_the_images_of_the_command_line_and_those_of_each_step(service, tmp_path, monkeypatch):
    words = ("recipe=three", "seed=3", "again.strength=1.0", "metric=[sharpness]")
    (job,) = service.submit(*words)
    with httpx.stream("GET", f"{service.address}/jobs/{job['id']}/events", timeout=120,
                      headers={"authorization": "Bearer a-token-of-these-tests"}) as answer:  # fmt: skip
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    done, totals = events[-1], {event["total"] for event in events} - {0}
    assert done["state"] == "done", done["error"]
    assert totals == {7} and done["step"] == 7
    assert [event["step"] for event in events] == sorted(event["step"] for event in events)

    monkeypatch.setenv("COMPOSER_CACHE", str(tmp_path / "cache"))
    here = composer.compose(*words, config_dir=str(service.folder.parent / "conf"))
    assert [pixels(url) for url in done["images"]] == [here.image.tobytes()]
    assert {name: [pixels(url) for url in urls] for name, urls in done["steps"].items()} == {
        name: [step.image.tobytes()] for name, step in here.steps.items()
    }
    record = httpx.get(done["record"]).json()
    assert done["metrics"] == {"sharpness": record["metrics"]["sharpness"]["values"]}
    assert record["pixels"] == here.record["pixels"] and record["metrics"] == here.record["metrics"]
    for one in (record, record["recipe"]["steps"]["base"]["record"]):
        assert "Report" not in one["callbacks"]
    again = service.wait(service.submit(*done["overrides"])[0]["id"])  # of stored results of the steps
    assert httpx.get(again["record"]).json()["pixels"] == record["pixels"] and (again["step"], again["total"]) == (7, 7)


def test_a_sweep_over_a_step_makes_a_job_of_each_value_and_uploads_are_its_inputs(service):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(file, "PNG")
    upload = service.request("POST", "/uploads", content=file.getvalue()).json()["upload"]
    jobs = service.submit("recipe=three", "again.strength=0.5,1.0", f"larger.image={upload}", sweep=True)
    ended = [service.wait(job["id"]) for job in jobs]
    assert [job["state"] for job in ended] == ["done", "done"] and ended[0]["sweep"]
    assert len({pixels(job["images"][0]) for job in ended}) == 2


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("base.model.source=./x", "model.source"),
        ("base.model=local", "model.source"),
        ("again.output.folder=/tmp/x", "output.folder"),
        ("base.recipe=hires", "base.recipe"),
        ("base.lora=x.safetensors", "lora"),
        ("larger.tool=crop", "tool"),
        ("larger.image=/etc/hostname", "image"),
        ("larger.image=conf.png", "image"),
        ("larger.filter=log.txt", "filter"),
        ("again.image=log.txt", "image"),
        ("base.prompt=@log.txt", "prompt"),
        ("base.images=1000", "images"),
        ("metric=[distance]", "metric.distance.reference"),
        ("again.metric.clip_score.model=x", "metric.clip_score.model"),
        ("agian.steps=3", "agian.steps"),
        ("recipe=../three", "recipe"),
    ],
)
def test_what_a_request_may_not_set_it_may_not_set_for_a_step(service, word, key):
    answer = service.request("POST", "/jobs", json={"overrides": ["recipe=three", word]})
    assert answer.status_code == 400 and answer.json()["error"]["key"].endswith(key.rpartition(".")[2]), answer.text


@pytest.mark.parametrize("word", ["near.source=models", "near.source=embedded:depth", "near.revision=main"])
def test_a_request_names_no_model_of_a_tool(service, word):
    """Not even by a bare name, which could be a folder of the machine that serves."""
    answer = service.request("POST", "/jobs", json={"overrides": ["recipe=three", word]})
    assert answer.status_code == 400 and "names a model" in answer.text, answer.text


def test_a_recipe_is_checked_without_being_queued(service):
    before = service.request("GET", "/jobs").json()["counts"]
    assert service.request("POST", "/check", json={"overrides": ["recipe=three"]}).status_code == 200
    wrong = service.request("POST", "/check", json={"overrides": ["recipe=three", "again.strength=0.01"]})
    assert wrong.status_code == 400 and wrong.json()["error"]["key"].startswith("again.")
    assert service.request("GET", "/jobs").json()["counts"] == before
