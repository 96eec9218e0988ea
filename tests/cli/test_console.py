"""How the process of the console command starts and ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = """
import atexit, gc, sys, threading, time
usual = gc.get_threshold()
atexit.register(lambda: print("at exit", flush=True))
{more}
import composer.cli.main as module
module.main = lambda: ({before}, {code})[1]
module.run_console()
"""


def ended(before: str = "None", code: int = 0, more: str = "") -> subprocess.CompletedProcess[str]:
    text = START.format(before=before, code=code, more=more)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_exit_code_and_registered_functions(code):
    """The exit skips the interpreter's teardown, and nothing that was registered."""
    done = ended("print('no newline', end='')", code)
    assert (done.returncode, done.stdout, done.stderr) == (code, "no newlineat exit\n", "")


def test_threads_end_first():
    thread = "threading.Thread(target=lambda: (time.sleep(0.3), print('thread', flush=True))).start()"
    assert ended(thread).stdout == "thread\nat exit\n"


def test_a_closed_output_is_no_traceback():
    done = subprocess.run(f"{sys.executable} -m composer list scheduler | head -1", shell=True, capture_output=True)
    assert (done.stderr, done.stdout.count(b"\n")) == (b"", 1)


def test_garbage_is_collected_rarely_until_the_first_pipeline():
    facts = "print(gc.get_threshold()[0] > usual[0]), module.garbage.resume(), print(gc.get_threshold() == usual)"
    assert ended(f"({facts})").stdout == "True\nTrue\nat exit\n"


def test_calls_from_python_leave_the_collection_alone():
    code = (
        "import gc; usual = gc.get_threshold(); from composer.cli.main import main; main(['list', 'scheduler', '-q'])"
    )
    done = subprocess.run([sys.executable, "-c", f"{code}; print(gc.get_threshold() == usual)"], capture_output=True)
    assert done.stdout.splitlines()[-1] == b"True"
