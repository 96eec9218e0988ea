"""In a real notebook kernel: images show themselves, errors and interruptions are one line, and there is a progress
bar.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

manager = pytest.importorskip("jupyter_client.manager")
pytest.importorskip("ipykernel")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A kernel and a client that talks to it."""
    root = str(Path(__file__).parents[2])
    kernel = manager.KernelManager(kernel_name="python3")
    kernel.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    kernel.start_kernel(cwd=str(tmp_path_factory.mktemp("notebook")), env={**os.environ, "PYTHONPATH": path})
    client = kernel.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    yield kernel, client
    client.stop_channels()
    kernel.shutdown_kernel(now=True)


def shown(notebook, code, interrupt_at=None):
    """What a cell shows: (type, content) of each message. interrupt_at: a text on stderr at which the stop button is
    pressed.
    """
    kernel, client = notebook
    client.execute(code)
    messages, deadline = [], time.monotonic() + 300
    while time.monotonic() < deadline:
        message = client.get_iopub_msg(timeout=300)
        kind, content = message["msg_type"], message["content"]
        messages.append((kind, content))
        if interrupt_at is not None and kind == "stream" and interrupt_at in content["text"]:
            kernel.interrupt_kernel()
            interrupt_at = None
        if (
            kind == "status"
            and content["execution_state"] == "idle"
            and any(kind == "execute_input" for kind, _ in messages)
        ):
            return messages
    raise AssertionError(f"the cell did not end: {messages}")


def texts(messages, kind, name):
    return [content[name] for other, content in messages if other == kind]


def test_an_image_shows_itself_and_a_bar_shows_progress(notebook):
    messages = shown(notebook, "import composer\ncomposer.compose(steps=2, prompt='a red cone')")
    (data,) = texts(messages, "execute_result", "data")
    assert "image/png" in data and "Result(1 image of 128 x 128 pixels" in data["text/plain"]
    assert "denoising" in "".join(texts(messages, "stream", "text"))


def test_a_typo_is_one_line(notebook):
    messages = shown(notebook, "import composer\ncomposer.compose(stepz=3)")
    ((line,),) = texts(messages, "error", "traceback")
    assert line.startswith("ComposerError: stepz=3: there is no such key") and "\n" not in line


def test_the_stop_button_is_one_line_and_the_next_cell_works(notebook):
    messages = shown(
        notebook, "import composer\ncomposer.compose(steps=999, prompt='a red cone')", interrupt_at="denoising"
    )
    assert texts(messages, "error", "traceback") == [["KeyboardInterrupt: composer was interrupted"]]
    messages = shown(notebook, "composer.compose(steps=1, prompt='a red cone').seeds")
    assert [data["text/plain"] for data in texts(messages, "execute_result", "data")] == ["(0,)"]
