"""`compose --warm` with real processes: what the plain command does, from a process that stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from composer.testing.image_files import pixels

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no Unix sockets")
#: Of one request, by the parent of its process.
WORDS = ["prompt=a red sphere", "steps=3", "seed=4"]
#: A callback of composer's own that keeps a run busy until it is interrupted: images of every step, decoded.
LONG = ["steps=900", "callbacks=[preview]", "callbacks.preview.decode=vae"]


@pytest.fixture(scope="module")
def runtime():
    """A short folder for the socket, and no process left in it."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    yield folder
    subprocess.run(
        [sys.executable, "-m", "composer", "warm", "stop"], env=environment(folder), check=True, capture_output=True
    )
    shutil.rmtree(folder)


def environment(runtime: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "COMPOSER_WARM_MINUTES": "2", **more}


def start(runtime: Path, folder: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "composer", *words]
    return subprocess.Popen(command, cwd=folder, env=environment(runtime, **more), stdout=-1, stderr=-1, text=True)


def call(runtime: Path, folder: Path, *words: str, **more: str) -> tuple[int, str, str]:
    process = start(runtime, folder, *words, **more)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def server(runtime: Path, **more: str) -> int | None:
    """The resident process's number."""
    out = call(runtime, runtime, "warm", "status", **more)[1]
    return int(out.split(":")[0].removeprefix("process ")) if out.startswith("process") else None


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{number}/stat").read_text().split()[2] if Path("/proc").is_dir() else True


def test_it_does_what_the_plain_command_does(runtime, tmp_path):
    plain = call(runtime, tmp_path, *WORDS, "output.folder=plain")
    first = call(runtime, tmp_path, "--warm", *WORDS, "output.folder=first")
    number = server(runtime)
    again = call(runtime, tmp_path, "--warm", *WORDS, "output.folder=again")
    assert number is not None and server(runtime) == number
    for name, (code, out, err) in {"first": first, "again": again}.items():
        assert (code, err) == (plain[0], plain[2]) and out.split("(")[0] == plain[1].split("(")[0].replace(
            "plain", name
        )
        assert pixels(tmp_path / name / "000.png") == pixels(tmp_path / "plain" / "000.png")
        printed, status = (json.loads((tmp_path / folder / "run.json").read_text()) for folder in (name, "plain"))
        assert printed.keys() == status.keys()
        assert (
            printed["options"] == status["options"]
            and printed["threads"] == status["threads"]
            and printed["images"][0]["seed"] == 4
        )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["steps=0"], 2),
        (["scheduler=eulr"], 2),
        (["output.folder=there", "prompt=@nothing.txt"], 2),
        (["task=img2img", "image=no.png"], 2),
    ],
)
def test_it_refuses_as_the_plain_command_does(runtime, tmp_path, words, code):
    plain, warm = call(runtime, tmp_path, *words), call(runtime, tmp_path, "--warm", *words)
    assert warm == plain and plain[0] == code and plain[2].count("\n") == 1


@pytest.mark.parametrize("words", [["-m", "steps=1,2"], ["show"], ["-v"], ["--cfg", "job"]])
def test_it_is_for_single_runs(runtime, tmp_path, words):
    code, _, err = call(runtime, tmp_path, "--warm", *words)
    assert code == 2 and "is for a single run" in err and err.count("\n") == 1


def test_folder_environment_and_umask_are_the_clients(runtime, tmp_path):
    (tmp_path / "words.txt").write_text("a blue cube")
    before = os.umask(0o077)
    try:
        assert call(runtime, tmp_path, "--warm", "prompt=@words.txt", "steps=1", "output.folder=out")[0] == 0
    finally:
        os.umask(before)
    assert (tmp_path / "out" / "000.png").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "out" / "run.json").read_text())["images"][0]["prompt"] == "a blue cube"
    shutil.rmtree(tmp_path / "out")  # its folder is not held


@pytest.mark.slow  # several runs; test_changes looks at what distinguishes them
def test_a_checkpoint_that_changed_is_read_anew(runtime, tmp_path, checkpoints):
    shutil.copytree(checkpoints["sd"], tmp_path / "model")
    words = ["--warm", "model=local", "model.source=model", "steps=1", "height=64", "width=64"]
    assert call(runtime, tmp_path, *words, "output.folder=before")[0] == 0
    from composer.testing import pipelines

    pipelines.sd(seed=5).unet.save_pretrained(tmp_path / "model" / "unet")
    assert call(runtime, tmp_path, *words, "output.folder=after")[0] == 0
    assert call(runtime, tmp_path, *words[1:], "output.folder=plain")[0] == 0
    assert (
        pixels(tmp_path / "after" / "000.png")
        == pixels(tmp_path / "plain" / "000.png")
        != pixels(tmp_path / "before" / "000.png")
    )


def test_ctrl_c_ends_the_run_and_leaves_the_process(runtime, tmp_path):
    call(runtime, tmp_path, "--warm", *WORDS)
    number = server(runtime)
    process = start(runtime, tmp_path, "--warm", *LONG, "output.folder=out")
    until(lambda: "at work" in call(runtime, runtime, "warm", "status")[1])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1:]) == (130, ["compose: interrupted"])
    assert server(runtime) == number and call(runtime, tmp_path, "--warm", *WORDS)[0] == 0


def test_ctrl_c_before_the_run_begins_is_reported_too(tmp_path, monkeypatch):
    from composer.cli.main import main
    from composer.resident import server as module

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)  # and back: a server's own folder is the root
    with tempfile.TemporaryDirectory() as short, (tmp_path / "output").open("w") as output:
        resident = module.Server(Path(short, "x.sock"), idle=1, run_line=main)
        one, other = socket.socketpair()
        with one, other, resident.listener:
            about = {"argv": ["steps=0"], "cwd": str(tmp_path), "environment": dict(os.environ), "umask": 0o022}
            monkeypatch.setattr(module.wire, "send", interrupted)
            assert resident._run(module.Job(one, about, [output.fileno(), output.fileno()])) == 130
    assert (tmp_path / "output").read_text() == "compose: interrupted\n"


def test_a_client_that_is_killed_takes_its_run_along(runtime, tmp_path):
    call(runtime, tmp_path, "--warm", *WORDS)
    process = start(runtime, tmp_path, "--warm", *LONG)
    until(lambda: "at work" in call(runtime, runtime, "warm", "status")[1])
    process.kill()
    process.wait()
    until(lambda: "ends in" in call(runtime, runtime, "warm", "status")[1])


def test_a_second_client_waits(runtime, tmp_path):
    call(runtime, tmp_path, "--warm", *WORDS)
    both = [start(runtime, tmp_path, "--warm", "steps=40", f"output.folder={name}") for name in "ab"]
    output = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(output) in (["", "compose: note: another run is in progress; waiting\n"], ["", ""])  # as they came
    assert pixels(tmp_path / "a" / "000.png") == pixels(tmp_path / "b" / "000.png")


def test_a_process_that_is_killed_is_reported_and_replaced(runtime, tmp_path):
    call(runtime, tmp_path, "--warm", *WORDS)
    number = server(runtime)
    process = start(runtime, tmp_path, "--warm", *LONG)
    until(lambda: "at work" in call(runtime, runtime, "warm", "status")[1])
    os.kill(number, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "ended in the middle of the run" in err and err.count("\n") == 1
    assert list((runtime / "composer").glob("*.sock"))  # what it left
    both = [
        start(runtime, tmp_path, "--warm", *WORDS, f"output.folder={name}") for name in "ab"
    ]  # only one starts another
    assert [process.wait(120) for process in both] == [0, 0]
    assert len(list((runtime / "composer").glob("*.sock"))) == 1 and server(runtime) != number


def test_another_environment_is_another_process(runtime, tmp_path):
    call(runtime, tmp_path, "--warm", "steps=0")
    number = server(runtime)
    code, _, err = call(runtime, tmp_path, "--warm", "steps=0", COMPOSER_PLUGINS="")
    assert code == 2 and "steps=0" in err
    until(lambda: not alive(number))
    assert call(runtime, runtime, "warm", "stop")[1].startswith("process")


def test_a_folder_that_others_can_enter_is_refused(tmp_path):
    (tmp_path / "composer").mkdir()
    (tmp_path / "composer").chmod(0o755)
    code, _, err = call(tmp_path, tmp_path, "--warm", *WORDS)
    assert code == 2 and "nobody else can enter" in err and err.count("\n") == 1
    (tmp_path / "composer").rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "composer").symlink_to(tmp_path / "elsewhere")
    assert call(tmp_path, tmp_path, "--warm", *WORDS)[0] == 2


def test_it_ends_by_itself(runtime, tmp_path):
    assert call(runtime, tmp_path, "--warm", "steps=0", COMPOSER_WARM_MINUTES="0.02")[0] == 2
    until(lambda: not list((runtime / "composer").glob("*.sock")))


def test_the_client_needs_neither_torch_nor_hydra(tmp_path):
    """The one that answers at once must not import what takes seconds."""
    heavy = "import sys, composer.cli.main, composer.resident.client"
    heavy += "; print([m for m in ('torch', 'hydra', 'omegaconf', 'yaml') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout == "[]\n"
