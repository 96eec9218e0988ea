from __future__ import annotations

import os
import socket

import pytest

from composer.resident import wire


@pytest.fixture
def pair():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with one, other:
        yield one, other


def test_messages_arrive_one_by_one(pair):
    for number in range(3):
        wire.send(pair[0], {"number": number, "text": "é\n"})
    assert [wire.receive(pair[1])[0]["number"] for _ in range(3)] == [0, 1, 2]
    pair[0].close()
    assert wire.receive(pair[1]) == (None, [])


def test_files_come_along(pair, tmp_path):
    with (tmp_path / "x").open("w") as file:
        wire.send(pair[0], {"argv": []}, (file.fileno(), file.fileno()))
    message, files = wire.receive(pair[1], files=2)
    assert message == {"argv": []}
    for number in files:
        os.write(number, b"z")
        os.close(number)
    assert (tmp_path / "x").read_text() == "zz"


@pytest.mark.parametrize("data", [b"[]\n", b"not json\n", b"x" * (wire.MAX_MESSAGE_BYTES + 1)])
def test_nonsense_is_refused(pair, data):
    import threading

    sender = threading.Thread(target=pair[0].sendall, args=(data,))
    sender.start()
    with pytest.raises(ValueError):
        wire.receive(pair[1])
    sender.join()


def test_the_owner_is_known(pair):
    assert wire.owner(pair[0]) in (None, os.getuid())
