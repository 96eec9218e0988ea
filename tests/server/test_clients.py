"""Published clients and plain HTTP against a real service: the images are those of the command line, bit for bit."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys

import httpx
import numpy as np
import openai
import pytest
from PIL import Image
from served import TOKEN

SETTINGS = {"seed": 3, "steps": 2}


@pytest.fixture(scope="module")
def client(service) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{service.address}/v1", api_key=TOKEN, max_retries=0, timeout=180)


def pixels(data: bytes | str) -> np.ndarray:
    """Pixels of a file's content, or of a file."""
    return np.asarray(Image.open(io.BytesIO(data) if isinstance(data, bytes) else data).convert("RGB"))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def hole() -> bytes:
    """A mask of OpenAI's kind: transparent where the image is to change."""
    mask = Image.new("RGBA", (128, 128), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (32, 32, 96, 96))
    return png(mask)


def test_openai_generates_what_the_command_line_generates(client, compose):
    prompt = "a red cone, on sand; 'quoted' ${oc.env:HOME} @file"
    answer = client.images.generate(model="tiny", prompt=prompt, n=2, response_format="b64_json", extra_body=SETTINGS)
    words = ["model=tiny", "seed=3", "steps=2", "images=2", f"prompt={prompt}", "output.folder=out"]
    assert compose(*words).code == 0
    for number, image in enumerate(answer.data):
        assert np.array_equal(pixels(base64.b64decode(image.b64_json)), pixels(f"out/00{number}.png"))


@pytest.mark.slow
def test_openai_edits_what_the_command_line_edits(client, compose, tmp_path):
    image, mask = png(Image.linear_gradient("L").resize((128, 128)).convert("RGB")), hole()
    (tmp_path / "a.png").write_bytes(image)
    (tmp_path / "m.png").write_bytes(mask)
    answer = client.images.edit(model="tiny", image=image, mask=mask, prompt="a yellow cone", response_format="url",
                                extra_body=SETTINGS)  # fmt: skip
    words = [
        "task=inpaint",
        "image=a.png",
        "mask=m.png",
        "invert_mask=true",
        "prompt=a yellow cone",
        "seed=3",
        "steps=2",
    ]
    assert compose(*words, "output.folder=out").code == 0
    edited = pixels(httpx.get(answer.data[0].url).content)
    assert np.array_equal(edited, pixels("out/000.png")) and np.array_equal(edited[:20], pixels(image)[:20])


def test_openai_reads_a_refusal(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(model="tiny", prompt="a cone", extra_body={"steps": 0})
    assert (
        refused.value.body["message"] == "steps=0: must be an integer from 1 to 999" and refused.value.param == "steps"
    )
    with pytest.raises(openai.BadRequestError, match="quality=hd: has no effect here"):
        client.images.generate(model="tiny", prompt="a cone", quality="hd")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=client.base_url, api_key="another", max_retries=0).models.list()


def test_openai_lists_the_model_options(client):
    assert {"tiny", "sdxl"} <= {model.id for model in client.models.list()}


def test_a_job_has_its_images_its_record_and_its_command(service, compose):
    (job,) = service.submit("steps=2", "seed=5", "scheduler=euler", "callbacks=[trace]")
    done = service.wait(job["id"])
    assert done["state"] == "done" and done["command"] == "compose steps=2 seed=5 scheduler=euler 'callbacks=[trace]'"
    record = httpx.get(done["record"]).json()
    assert list(record["callbacks"]) == ["trace"] and record["images"][0]["seed"] == 5
    assert compose("steps=2", "seed=5", "scheduler=euler", "output.folder=out").code == 0
    assert np.array_equal(pixels(httpx.get(done["images"][0]).content), pixels("out/000.png"))
    assert any(name.startswith("trace") for name in done["files"])


@pytest.mark.slow
def test_a_sweep_is_a_job_of_each_combination(service):
    jobs = service.submit("steps=1,2", "seed=range(2)", "sweep.where=steps > 1 or seed == 0", sweep=True)
    assert [job["overrides"] for job in jobs] == [["steps=1", "seed=0"], ["steps=2", "seed=0"], ["steps=2", "seed=1"]]
    assert len({job["sweep"] for job in jobs}) == 1
    assert {service.wait(job["id"])["state"] for job in jobs} == {"done"}


def test_events_follow_a_job_with_previews(service):
    (job,) = service.submit("steps=12")
    states, steps, previews = [], [], []
    with httpx.stream(
        "GET", f"{service.address}/jobs/{job['id']}/events", headers={"authorization": f"Bearer {TOKEN}"}, timeout=180
    ) as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                states.append(line[7:])
            elif line.startswith("data: "):
                steps.append(json.loads(line[6:])["step"])
                if preview := json.loads(line[6:])["preview"]:
                    previews.append(httpx.get(preview).status_code)
    assert states[-1] == "done" and steps == sorted(steps) and steps[-1] == 12
    assert previews and previews[0] in (200, 404)  # gone where the job ended meanwhile


@pytest.mark.slow
def test_a_job_is_cancelled_and_retried(service):
    long, waiting = service.submit("steps=900"), service.submit("steps=1")
    assert service.request("POST", f"/jobs/{waiting[0]['id']}/cancel").json()["state"] == "cancelled"
    service.wait(long[0]["id"], "running")
    service.request("POST", f"/jobs/{long[0]['id']}/cancel")
    cancelled = service.wait(long[0]["id"])
    assert cancelled["state"] == "cancelled" and cancelled["step"] < 900 and cancelled["files"] == {}
    assert service.request("POST", f"/jobs/{waiting[0]['id']}/retry").json()["state"] == "queued"
    done = service.wait(waiting[0]["id"])
    assert done["state"] == "done"
    again = service.request("POST", f"/jobs/{done['id']}/retry")
    assert again.status_code == 400 and "is done" in again.json()["error"]["message"]


@pytest.mark.slow
def test_an_image_is_uploaded_once(service):
    image = png(Image.linear_gradient("L").convert("RGB"))
    names = {
        service.request("POST", "/uploads", content=image, headers={"content-type": "image/png"}).json()["upload"]
        for _ in range(2)
    }
    assert len(names) == 1
    (job,) = service.submit("task=img2img", f"image={names.pop()}", "steps=2", "strength=0.5")
    assert service.wait(job["id"])["state"] == "done"


def test_pages_for_people_and_machines(service):
    assert service.request("GET", "/healthz").json()["status"] == "ok"
    description = service.request("GET", "/openapi.json").json()
    assert description["openapi"] == "3.1.0" and "/v1/images/generations" in description["paths"]
    assert "POST /jobs" in service.request("GET", "/docs").text
    metrics = service.request("GET", "/metrics").text
    assert 'composer_jobs{state="done"}' in metrics and "composer_workers 1" in metrics
    assert service.request("GET", "/schema").json()["$defs"]["options.model"]
    assert service.request("POST", "/check", json={"overrides": ["steps=3"]}).json() == {"notes": []}


@pytest.mark.slow
def test_logs_are_json_lines_without_secrets(services):
    service = services("--log", "json")
    (job,) = service.submit("steps=1", client="somebody")
    done = service.wait(job["id"])
    assert (
        httpx.get(done["images"][0]).status_code == 200 and service.request("GET", "/jobs/nothing").status_code == 404
    )
    assert service.stop() == 0
    text = (service.folder.parent / "log.txt").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "logger", "event"} <= line.keys() for line in lines)
    jobs = [line for line in lines if line.get("job") == job["id"]]
    assert [line["event"] for line in jobs] == ["job started", "job done"] and jobs[1]["client"] == "somebody"
    requests = [(line["method"], line["path"], line["status"]) for line in lines if line["event"] == "request"]
    assert ("POST", "/jobs", 202) in requests and ("GET", "/jobs/nothing", 404) in requests
    assert TOKEN not in text and "key=" not in text


#: A program of its own, since LiteLLM is installed apart: COMPOSER_LITELLM names the Python that has it.
LITELLM = """
import sys, litellm
words = {"model": "openai/tiny", "prompt": "a red cone, on sand", "n": 2, "extra_body": {"seed": 3, "steps": 2}}
answer = litellm.image_generation(api_base=sys.argv[1], api_key=sys.argv[2], **words)
print("\\n".join(image.b64_json for image in answer.data))
"""


@pytest.mark.slow
def test_litellm_generates_what_the_command_line_generates(service, compose):
    python = os.environ.get("COMPOSER_LITELLM", sys.executable)
    if subprocess.run([python, "-c", "import litellm"], capture_output=True).returncode:
        pytest.skip("needs LiteLLM: pip install litellm, and COMPOSER_LITELLM=PYTHON where it is installed apart")
    command = [python, "-c", LITELLM, f"{service.address}/v1", TOKEN]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    words = ["model=tiny", "seed=3", "steps=2", "images=2", "prompt='a red cone, on sand'", "output.folder=out"]
    assert compose(*words).code == 0
    images = done.stdout.split()
    assert len(images) == 2
    for number, image in enumerate(images):
        assert np.array_equal(pixels(base64.b64decode(image)), pixels(f"out/00{number}.png"))
