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
REQUESTED = [
    ["seed=1", "scheduler=euler_karras"],
    ["seed=2", "accel=[deepcache]"],
    ["seed=3", "scheduler=dpmpp_sde", "precision=bf16"],
    ["seed=4", "task=img2img", "memory=[attention_slicing]"],
    ["seed=5", "guidance=pag", "accel=[channels_last]"],
    ["seed=6", "task=inpaint", "callbacks=[guidance_schedule,nan_guard]"],
]
COMMON = ["callbacks=[]", "steps=3", "height=64", "width=64"]
value = """
import hashlib, json, sys, threading
import composer
from composer.errors import ComposerError
requests, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
together, results = threading.Barrier(len(requests)), {}

def generate(number):
    for turn in range(rounds):
        together.wait()
        try:
            image = composer.compose(*requests[number]).image
            results[f"{number}.{turn}"] = hashlib.sha256(image.tobytes()).hexdigest()
        except Exception as error:
            results[f"{number}.{turn}"] = f"{type(error).__name__}: {error}"

threads = [threading.Thread(target=generate, args=(number,)) for number in range(len(requests))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
from hydra.core.global_hydra import GlobalHydra
print(json.dumps({"results": results, "hydra": GlobalHydra.instance().is_initialized()}))
"""


def words(requested: list[str]) -> list[str]:
    return [*COMMON, *requested]


def alone(requested: list[str]) -> str:
    return hashlib.sha256(compose(*words(requested)).image.tobytes()).hexdigest()


@pytest.mark.slow
def test_first_calls_from_six_threads_equal_single_calls(tmp_path):
    requested = json.dumps([words(item) for item in REQUESTED])
    done = subprocess.run(
        [sys.executable, "-c", value, requested, "3"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout.splitlines()[-1])
    assert data["results"] == {
        f"{number}.{turn}": alone(entry) for number, entry in enumerate(REQUESTED) for turn in range(3)
    }
    assert data["hydra"] is False


def test_calls_from_threads_equal_single_calls():
    requested, results = [item for item in REQUESTED if "precision=bf16" not in item][:4], {}  # which takes long
    together = threading.Barrier(len(requested))

    def generate(number: int) -> None:
        together.wait()
        results[number] = alone(requested[number])

    threads = [threading.Thread(target=generate, args=(number,)) for number in range(len(requested))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: alone(entry) for number, entry in enumerate(requested)}


def test_a_run_within_a_run_does_not_wait_for_itself():
    from composer import StepCallback

    class Generates(StepCallback):
        def after_decode(self, run, images) -> None:
            self.image = compose("callbacks=[]", "seed=9", steps=1).image

    within = Generates()
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
