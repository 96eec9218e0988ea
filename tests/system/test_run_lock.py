"""`composer.compose` from several threads: each generates what it generates alone, and nothing is left behind."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading

import pytest

from composer import compose

pytestmark = pytest.mark.usefixtures("one_thread")
#: What each thread asks for: other schedulers, tasks, guidance, options of memory and accel, precision.
ASKED = [
    ["seed=1", "scheduler=euler_karras"],
    ["seed=2", "accel=[deepcache]"],
    ["seed=3", "scheduler=dpmpp_sde", "precision=bf16"],
    ["seed=4", "task=img2img", "memory=[attention_slicing]"],
    ["seed=5", "guidance=pag", "accel=[channels_last]"],
    ["seed=6", "task=inpaint", "callbacks=[guidance_schedule,nan_guard]"],
]
COMMON = ["callbacks=[]", "steps=3", "height=64", "width=64"]
DRAW = """
import hashlib, json, sys, threading
import composer
from composer.errors import ComposerError
asked, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
together, made = threading.Barrier(len(asked)), {}

def draw(number):
    for turn in range(rounds):
        together.wait()
        try:
            image = composer.compose(*asked[number]).image
            made[f"{number}.{turn}"] = hashlib.sha256(image.tobytes()).hexdigest()
        except Exception as error:
            made[f"{number}.{turn}"] = f"{type(error).__name__}: {error}"

threads = [threading.Thread(target=generate, args=(number,)) for number in range(len(asked))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
from hydra.core.global_hydra import GlobalHydra
print(json.dumps({"made": made, "hydra": GlobalHydra.instance().is_initialized()}))
"""


def words(asked: list[str]) -> list[str]:
    return [*COMMON, *asked]


def alone(asked: list[str]) -> str:
    return hashlib.sha256(compose(*words(asked)).image.tobytes()).hexdigest()


@pytest.mark.slow
def test_first_calls_from_six_threads_draw_as_alone(tmp_path):
    asked = json.dumps([words(each) for each in ASKED])
    done = subprocess.run(
        [sys.executable, "-c", DRAW, asked, "3"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["made"] == {f"{number}.{turn}": alone(each) for number, each in enumerate(ASKED) for turn in range(3)}
    assert found["hydra"] is False


def test_calls_from_threads_draw_as_alone():
    asked, made = [each for each in ASKED if "precision=bf16" not in each][:4], {}  # which takes long
    together = threading.Barrier(len(asked))

    def draw(number: int) -> None:
        together.wait()
        made[number] = alone(asked[number])

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == {number: alone(each) for number, each in enumerate(asked)}


def test_a_run_within_a_run_does_not_wait_for_itself():
    from composer import StepCallback

    class Draws(StepCallback):
        def after_decode(self, run, images) -> None:
            self.image = compose("callbacks=[]", "seed=9", steps=1).image

    within = Draws()
    compose("callbacks=[]", steps=1, callbacks=[within])
    assert within.image.tobytes() == compose("callbacks=[]", "seed=9", steps=1).image.tobytes()


def test_hydra_of_the_program_around_stays_as_it_was(tmp_path):
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    (tmp_path / "mine.yaml").write_text("answer: 42\n")
    assert not GlobalHydra.instance().is_initialized()
    compose("callbacks=[]", steps=1)
    assert not GlobalHydra.instance().is_initialized()
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.2"):
        before = GlobalHydra.instance().hydra
        compose("callbacks=[]", steps=1)
        assert GlobalHydra.instance().hydra is before and hydra.compose("mine").answer == 42
