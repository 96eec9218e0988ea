"""Images with forged records: whatever a record says, nothing is run, nothing is written outside the output folder, no
secret gets out.
"""

from __future__ import annotations

import copy
import json
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from watched import CANARY, watched

from composer.records import metadata

TARGET = {"_target_": "canary.Canary", "path": "canary-was-here"}


def record(tmp_path: Path, monkeypatch) -> dict:
    """An honest one, of an image made from an image."""
    from composer.cli.main import main

    monkeypatch.chdir(tmp_path)
    assert main(["task=img2img", "steps=2", "output.folder=honest", "scheduler=euler"]) == 0
    return metadata.read(tmp_path / "honest/000.png")


def at(dotted: str, value):
    """A change of one value in a record."""

    def change(record: dict) -> None:
        *above, last = dotted.split("/")
        for key in above:
            record = record.setdefault(key, {})
        record[last] = value

    return change


def deep(levels: int) -> dict:
    node: dict = {}
    for _ in range(levels):
        node = {"a": node}
    return node


#: Changes of a genuine record, and a part of the expected message; None if it is generated and does no harm.
HOSTILE = {
    "task_class": (at("config/task/_target_", "os.system"), None),
    "callback_class": (at("config/callbacks/progress/_target_", "subprocess.run"), None),
    "scheduler_class": (at("config/scheduler/_target_", "canary.Canary"), None),
    "guidance_class": (at("config/guidance/_target_", "builtins.eval"), None),
    "new_callback": (at("config/callbacks/evil", TARGET), "another class"),
    "class_in_a_setting": (at("config/scheduler/beta_start", TARGET), "another class"),
    "class_in_a_list": (at("config/scheduler/trained_betas", [TARGET]), "another class"),
    "class_in_a_component": (at("config/model/components/vae", TARGET), "another class"),
    "partial": (at("config/task/_partial_", True), "a key that there is not"),
    "hydra_node": (at("config/hydra", {"run": {"dir": "/tmp/elsewhere"}}), "a key that there is not"),
    "unknown_key": (at("config/run_this", "rm -rf ~"), "a key that there is not"),
    "chosen": (at("config/chosen", {"task": "evil"}), "a key that there is not"),
    "unknown_group": (at("options/hydra", "evil"), "a group that composer does not have"),
    "option_with_a_path": (at("options/task", "../../../tmp/evil"), "not installed here"),
    "option_with_an_override": (at("options/callbacks", ["progress,hydra.run.dir=/tmp/elsewhere"]),
        "not installed here"),
    "option_that_is_none": (at("options/model", {"a": 1}), "not installed here"),
    "option_from_a_number": (at("options/callbacks", 7), "not installed here"),
    "memory_that_is_none": (lambda old: (at("options/memory", ["auto"])(old), at("memory/..%2fevil", {})(old)),
        "not installed here"),
    "model_elsewhere": (at("config/model/source", "/etc"), "--trust"),
    "model_from_the_hub": (at("config/model/source", "evil/model"), "--trust"),
    "part_from_elsewhere": (at("config/model/components/vae", "../evil"), "--trust"),
    "above_the_embedded_models": (at("config/model/source", "embedded:../../evil"), "--trust"),
    "embedded_model_that_is_none": (at("config/model/source", "embedded:evil"), "--trust"),
    "pickles": (at("config/model/allow_pickle", True), "only on the command line"),
    "picture_absolute": (at("config/image", "/etc/passwd"), "--trust"),
    "picture_above": (at("config/image", "../../secret.png"), "--trust"),
    "picture_at_home": (at("config/image", "~/secret.png"), "--trust"),
    "picture_on_a_share": (at("config/image", "\\\\server\\share\\a.png"), "--trust"),
    "picture_on_the_web": (at("config/image", "http://127.0.0.1:9/a.png"), "--trust"),
    "picture_with_a_nul": (at("config/image", "a\0b.png"), "--trust"),
    "picture_by_a_link": (at("config/image", "link.png"), "--trust"),
    "pictures_in_a_list": (at("config/image", ["sample:scene", "/etc/passwd"]), "--trust"),
    "sample_that_is_none": (at("config/image", "sample:../../secret"), "no such sample"),
    "output_elsewhere": (at("config/output/folder", "/tmp/elsewhere"), None),
    "output_format": (at("config/output/format", "exe"), "output.format"),
    "secret_by_interpolation": (at("config/prompt", "${oc.env:HF_TOKEN} ${canary:} $HF_TOKEN"), None),
    "secret_in_a_setting": (at("config/scheduler/prediction_type", "${oc.env:HF_TOKEN}"), "prediction_type"),
    "path_in_a_setting": (at("config/scheduler/timestep_spacing", "../../evil"), "--trust"),
    "too_many_steps": (at("config/steps", 10**12), "steps="),
    "too_large": (at("config/height", 10**9), "height"),
    "not_a_number": (at("config/strength", 1e999), "must be a finite number"),
    "seed_too_large": (at("images", [{"seed": 2**70, "prompt": "", "negative_prompt": None}]), "which seed"),
    "negative_batch": (at("batches", [-1, 2]), "which batch"),
    "endless_batch": (at("batches", [10**9]), "does not agree with itself"),
    "batch_of_others": (at("together", {"begin": 5, "pictures": []}), "which batch"),
    "others_that_are_not_it": (
        at("together", {"begin": 0, "pictures": [{"seed": 1, "prompt": "x", "negative_prompt": None}]}),
        "does not agree with itself"),
    "threads": (at("threads", 10**9), None),
    "no_pixels": (at("pixels", []), "which batch"),
    "escape_codes": (at("versions", {"\33[2Jtorch": "\33]0;evil\7"}), None),
    "deep": (at("config/prompt", deep(60)), "nested deeper"),
    "long": (at("config/prompt", "x" * 300_000), "longer than"),
    "text_as_number": (at("config/seed", "7; rm"), "seed"),
    "a_list_for_a_word": (at("config/guidance/scale", [1, 2]), "guidance"),
    "batch_text": (at("config/batch", "0x10"), "batch"),
}  # fmt: skip


def saved(path: Path, text: str) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(metadata.KEY, text)
    Image.new("RGB", (128, 128)).save(path, pnginfo=chunks)


#: One of each kind, for each merge.
FEW = (
    "callback_class", "class_in_a_setting", "unknown_key", "option_with_a_path", "model_elsewhere", "picture_by_a_link",
    "above_the_embedded_models", "output_elsewhere", "secret_by_interpolation", "too_many_steps", "escape_codes",
)  # fmt: skip


@pytest.mark.parametrize("names", [FEW, pytest.param([*HOSTILE], marks=pytest.mark.slow)], ids=["few", "all"])
def test_forty_hostile_images(tmp_path, monkeypatch, names):
    honest = record(tmp_path, monkeypatch)
    work, images = tmp_path / "work", tmp_path / "pictures"
    work.mkdir()
    images.mkdir()
    (work / "canary.py").write_text("open('canary-was-here', 'w')\nclass Canary: pass\n")
    Image.new("RGB", (64, 64)).save(tmp_path / "secret.png")
    (images / "link.png").symlink_to(tmp_path / "secret.png")
    for name in names:
        change, _ = HOSTILE[name]
        forged = copy.deepcopy(honest)
        change(forged)
        text = json.dumps(forged).replace("Infinity", "1e999")
        saved(images / f"{name}.png", text)
        (images / f"{name}.json").write_text(text)
    lines = [["rerun", str(images / f"{name}.{suffix}")] for suffix in ("png", "json") for name in names]
    lines += [["info", str(images / f"{name}.png")] for name in names]
    assert len(HOSTILE) >= 40
    ended, seen = watched(work, [(work, words) for words in lines])
    assert seen == []
    wrong = [
        f"{words} {code} {out} {err}" for words, (code, out, err) in zip(lines, ended) if not met(words, code, out, err)
    ]
    assert not wrong, "\n".join(wrong)
    assert not list(tmp_path.rglob("canary-was-here"))
    assert CANARY.encode() not in b"".join(file.read_bytes() for file in work.rglob("*") if file.is_file())


def met(words: list[str], code: int, out: str, err: str) -> bool:
    """Whether a hostile image was refused in one line with the reason, or did no harm, and nothing secret or hostile
    was printed.
    """
    message = HOSTILE[Path(words[1]).stem][1]
    if CANARY in out + err or "\33" in out + err or "Traceback" in err:
        return False
    if words[0] == "info":
        return code in (0, 2)
    if message is None:
        return code in (0, 1) and ("bit for bit" in out or "not the same" in err)
    last = (err.rstrip("\n").splitlines() or [""])[-1]
    return code == 2 and last.startswith("compose: ") and message in last


def bomb(path: Path) -> None:
    """A few kilobytes of compressed text that are 64 MiB."""
    data = b"composer\0\0" + zlib.compress(b"{" + b" " * (64 << 20), 9)
    Image.new("RGB", (8, 8)).save(path)
    complete = path.read_bytes()
    chunk = len(data).to_bytes(4, "big") + b"zTXt" + data + zlib.crc32(b"zTXt" + data).to_bytes(4, "big")
    path.write_bytes(complete[:33] + chunk + complete[33:])


@pytest.mark.parametrize("damage", ["bomb", "half", "text", "empty", "chunk"])
def test_files_that_are_hardly_images(compose, tmp_path, damage):
    file = tmp_path / "a.png"
    saved(file, "{}")
    if damage == "bomb":
        bomb(file)
    else:
        data = file.read_bytes()
        file.write_bytes(
            {
                "half": data[: len(data) // 2],
                "text": b"no image",
                "empty": b"",
                "chunk": data.replace(b"tEXt", b"tEXx", 1),
            }[damage]
        )
    for command in ("rerun", "info"):
        done = compose(command, str(file))
        assert done.code == 2 and done.err.count("\n") == 1, done.err
