"""`compose mcp`: the tools of an agent, by the functions themselves and by the real client over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from composer.errors import ComposerError
from composer.server.agent_tools import AgentTools
from composer.server.service import Service
from composer.server.settings import AgentSettings

ROOT = Path(__file__).parents[2]
TOOLS = ["check", "list", "plan", "rerun", "run", "show", "status", "upload"]
SWEEP = ["seed=range(3)", "steps=2"]


@pytest.fixture
def tools(tmp_path) -> AgentTools:
    """Tools without a worker: jobs stay in the queue."""
    settings = AgentSettings(folder=str(tmp_path / "mcp"), images=str(tmp_path / "images"))
    return AgentTools(Service(settings.path, settings.queue), settings)


def test_the_table_of_tools():
    pytest.importorskip("mcp_types")
    from composer.server.agent_server import READING, make_server

    settings = AgentSettings()
    listed = asyncio.run(make_server(AgentTools(None, settings)).list_tools())  # type: ignore[arg-type]
    assert sorted(tool.name for tool in listed) == TOOLS
    for tool in listed:
        assert tool.description and tool.annotations.read_only_hint is (tool.name in READING)
    run = next(tool for tool in listed if tool.name == "run")
    assert set(run.input_schema["properties"]) == {"overrides", "sweep", "plan", "wait"}


def test_a_costly_request_needs_the_token_of_its_plan(tools):
    with pytest.raises(ComposerError, match=r"3 jobs, 3 images and 6 steps in all are more than 1 job.*call plan"):
        tools.run(SWEEP, sweep=True, wait=0)
    planned = tools.plan(SWEEP, sweep=True)
    assert (planned["jobs"], planned["images"], planned["steps"], len(planned["commands"])) == (3, 3, 6, 3)
    other = AgentTools(tools.service, tools.settings).plan(SWEEP, sweep=True)["plan"]
    for words, token in ((["seed=range(4)", "steps=2"], planned["plan"]), (SWEEP, "x"), (SWEEP, other)):
        with pytest.raises(ComposerError, match="is not the token of these overrides"):
            tools.run(words, sweep=True, plan=token, wait=0)
    assert tools.status()["counts"]["queued"] == 0
    assert len(tools.run(SWEEP, sweep=True, plan=planned["plan"], wait=0)["jobs"]) == 3
    assert tools.status()["counts"]["queued"] == 3


@pytest.mark.parametrize("words", [["images=5", "steps=1"], ["images=3", "steps=70"], ["steps=201"]])
def test_a_single_job_can_be_costly_too(tools, words):
    with pytest.raises(ComposerError, match="call plan"):
        tools.run(words, wait=0)
    assert tools.run(words, plan=tools.plan(words)["plan"], wait=0)["jobs"][0]["state"] == "queued"


def test_a_cheap_request_needs_no_plan_and_a_rerun_is_checked_as_well(tools):
    (job,) = tools.run(["steps=2", "seed=1"], wait=0)["jobs"]
    assert tools.status(job["id"])["state"] == "queued"
    again = tools.rerun(job["id"], ["seed=4"], wait=0)
    assert again["jobs"][0]["overrides"] == ["steps=2", "seed=4"] and again["same"] is None
    with pytest.raises(ComposerError, match="call plan"):
        tools.rerun(job["id"], ["images=50"], wait=0)
    with pytest.raises(ComposerError, match="there is no such job"):
        tools.rerun("nothing")


@pytest.mark.parametrize(
    "words", ["output.folder=x", "model.source=/etc", "prompt=@/etc/passwd", "task=img2img image=/a"]
)
def test_an_agent_names_no_files(tools, words):
    for tool in (tools.check, tools.show, tools.plan, tools.run):
        with pytest.raises(ComposerError):
            tool(words.split(" "))


def test_only_images_of_jobs_and_of_the_named_directory_are_taken(tools, tmp_path):
    (tmp_path / "images").mkdir()
    for path in (tmp_path / "images/a.png", tmp_path / "b.png"):
        Image.new("RGB", (8, 8)).save(path)
    (tmp_path / "images/link.png").symlink_to(tmp_path / "b.png")
    assert tools.upload(str(tmp_path / "images/a.png"))["upload"].startswith("upload:")
    for path in ("b.png", "images/../b.png", "images/link.png", "images/none.png", "mcp/queue.db"):
        with pytest.raises(ComposerError, match="is no image of a job"):
            tools.upload(str(tmp_path / path))


def test_without_the_setting_only_images_of_jobs_are(tools, tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ComposerError, match="is no image of a job"):
        AgentTools(tools.service, AgentSettings(folder=tools.settings.folder)).upload("a.png")


@pytest.mark.slow
def test_the_real_client_over_stdio(tmp_path, compose):
    pytest.importorskip("mcp_types")
    from mcp import Client, StdioServerParameters, stdio_client

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    words = ["-m", "composer", "mcp", f"folder={tmp_path / 'mcp'}", "workers=1"]
    server = StdioServerParameters(command=sys.executable, args=words, env=environment, cwd=str(tmp_path))

    async def talk():
        async with Client(stdio_client(server, errlog=log)) as client:
            assert sorted(tool.name for tool in (await client.list_tools()).tools) == TOOLS

            async def call(name: str, fails: bool = False, **arguments):
                answer = await client.call_tool(name, arguments)
                assert answer.is_error is fails, answer
                return answer.content[0].text if fails else answer.structured_content

            assert "euler" in (await call("list", group="scheduler"))["scheduler"]
            fitting = await call("list", group="scheduler", overrides=["model=tiny"])
            assert "euler" in fitting["scheduler"] and "flow_euler" not in fitting["scheduler"]
            assert (await call("show", overrides=["steps=3"]))["steps"] == 3
            assert (await call("check", overrides=["steps=3", "images=2"]))["steps"] == 6
            line = await call("check", fails=True, overrides=["steps=0"])
            assert line == compose("check", "steps=0").err.strip().removeprefix("compose: ") and "\n" not in line
            assert "call plan" in await call("run", fails=True, overrides=SWEEP, sweep=True)
            planned = await call("plan", overrides=SWEEP, sweep=True)
            done = await call("run", overrides=SWEEP, sweep=True, plan=planned["plan"], wait=300)
            assert [job["state"] for job in done["jobs"]] == ["done"] * 3, done
            again = await call("rerun", job=done["jobs"][0]["id"], wait=300)
            assert again["same"] is True
            image = next(file for file in done["jobs"][0]["files"] if file.endswith("000.png"))
            start = (await call("upload", file=image))["upload"]
            edited = await call("run", overrides=["task=img2img", f"image={start}", "steps=2"], wait=300)
            assert edited["jobs"][0]["state"] == "done", edited
            assert (await call("status"))["counts"]["done"] == 5
            return done["jobs"][0]

    with (tmp_path / "log.txt").open("w") as log:
        job = asyncio.run(talk())
    assert compose(*job["overrides"], "output.folder=out").code == 0
    recorded = json.loads(Path("out/run.json").read_text("utf-8"))["pixels"]
    folder = tmp_path / "mcp/jobs" / job["id"]
    assert recorded == json.loads((folder / "run.json").read_text("utf-8"))["pixels"]
