"""Every source that a config may come from, and what untrusted files could have Hydra, or other code, call.

A source is written into an empty folder, and returns the words that lead to it. Whatever is called leaves `PWNED`
there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

import composer
from composer.config.search_path import packaged_conf
from composer.records import metadata

MARK = "PWNED"
GROUPS = (
    "model", "task", "scheduler", "guidance", "precision", "device", "memory", "accel", "callbacks", "output", "preset",
    "sweep", "search", "sheet", "ray",
)  # fmt: skip
LISTS = ("memory", "accel", "callbacks")
Node = dict[str, Any]


def called(target: str, *args: Any, **keywords: Any) -> Node:
    return {"_target_": target, **keywords, **({"_args_": list(args)} if args else {})}


FILE = called("pathlib.Path", MARK)
TOUCH = f"open({MARK!r}, 'w')"
#: What would be called, by its name.
TARGETS: dict[str, Node] = {
    "os.system": called("os.system", f"touch {MARK}"),
    "posix.system": called("posix.system", f"touch {MARK}"),
    "os.popen": called("os.popen", f"touch {MARK}"),
    "os.mkdir": called("os.mkdir", MARK),
    "os.execvp": called("os.execvp", "touch", ["touch", MARK]),
    "exec": called("builtins.exec", TOUCH),
    "eval": called("builtins.eval", TOUCH),
    "open": called("builtins.open", MARK, "w"),
    "import": called("builtins.__import__", "canary"),
    "import_module": called("importlib.import_module", "canary"),
    "subprocess.run": called("subprocess.run", ["touch", MARK]),
    "subprocess.Popen": called("subprocess.Popen", ["touch", MARK]),
    "subprocess.getoutput": called("subprocess.getoutput", f"touch {MARK}"),
    "write_text": called("pathlib.Path.write_text", FILE, "text"),
    "touch": called("pathlib.Path.touch", FILE),
    "runpy": called("runpy.run_path", "canary.py"),
    "pickle.loads": called("pickle.loads", called("builtins.bytes", f"cposix\nsystem\n(S'touch {MARK}'\ntR.",
            "latin1")),
    "pickle.load": called("pickle.load", called("builtins.open", "evil.pt", "rb")),
    "torch.load": called("torch.load", "evil.pt", weights_only=False),
    "torch.hub": called("torch.hub.load", ".", "canary", source="local"),
    "numpy.load": called("numpy.load", "evil.pt", allow_pickle=True),
    "rmtree": called("shutil.rmtree", "victim"),
    "copyfile": called("shutil.copyfile", "canary.py", MARK),
    "partial": {**called("functools.partial", called("hydra.utils.get_method", "os.system"), f"touch {MARK}")},
    "methodcaller": called("operator.methodcaller", "touch"),
    "dictConfig": called("logging.config.dictConfig",
        {"version": 1, "handlers": {"a": {"class": "logging.FileHandler", "filename": MARK}},
                                                       "root": {"handlers": ["a"]}}),
    "FileHandler": called("logging.FileHandler", MARK),
    "logging.os.system": called("logging.os.system", f"touch {MARK}"),
    "instantiate": called("hydra.utils.instantiate", {"_target_": "os.system", "command": f"touch {MARK}"}),
    "timeit": called("timeit.timeit", TOUCH, number=1),
    "module_here": called("canary.Canary"),
    "composer.cli.main": called("composer.cli.main.main", ["steps=1", f"output.folder={MARK}"]),
    "diffusers.os": called("diffusers.utils.import_utils.os.system", f"touch {MARK}"),
}  # fmt: skip
#: A command line each: `{}` stands for the words of a source.
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("{}",), "sweep": ("-m", "seed=1,2", "{}"), "check": ("check", "{}"), "show": ("show", "{}"),
    "config": ("config", "{}"),
    "list": ("list", "{list}"), "plan": ("plan", "-m", "seed=1,2", "{}"), "rerun": ("rerun", "honest", "{}"),
    "launcher": ("-m", "hydra/launcher=basic", "seed=1,2", "{}"),
}  # fmt: skip
SMALL = ("steps=1", "height=32", "width=32", "callbacks=[]")


def put(here: Path, source: str, text: str) -> Path:
    """A file of a project's own."""
    file = here / source
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    if source.startswith("conf/"):
        (here / "conf" / ".composer").touch()
    return file


def dumped(node: Any) -> str:
    return json.dumps(node)  # which is YAML


def group(name: str) -> Callable[[Path, Node], list[str]]:
    def source(here: Path, node: Node) -> list[str]:
        put(here, f"conf/{name}/evil.yaml", dumped({"evil": node} if name in LISTS else {**node, "source": node}))
        return [f"{name}=[evil]" if name in LISTS else f"{name}=evil"]

    return source


def experiment(
    node_of: Callable[[Node], Node], folder: str = "conf", words: tuple[str, ...] = ()
) -> Callable[[Path, Node], list[str]]:
    def source(here: Path, node: Node) -> list[str]:
        put(here, f"{folder}/experiment/evil.yaml", f"# @package _global_\n{dumped(node_of(node))}")
        return [*words, "+experiment=evil"]

    return source


def shadowing(here: Path, node: Node) -> list[str]:
    put(
        here,
        "conf/output/auto.yaml",
        f"# @package _global_\n{dumped({'output': {'format': 'png'}, 'hydra': {'callbacks': {'a': node}}})}",
    )
    return []


def main(more: Callable[[Path, Node], Node]) -> Callable[[Path, Node], list[str]]:
    """A compose.yaml of the project's own: composer's, and what is hostile."""

    def source(here: Path, node: Node) -> list[str]:
        import yaml

        config = yaml.safe_load((packaged_conf() / "compose.yaml").read_text("utf-8"))
        added = more(here, node)
        config["defaults"] = [entry for entry in config["defaults"] if not set(entry) & set(added.get("instead", {}))]
        config["defaults"] += [{key: value} for key, value in added.pop("instead", {}).items()]
        config["hydra"] = {**config["hydra"], **added.pop("hydra", {})}
        put(here, "conf/compose.yaml", dumped({**config, **added}))
        return []

    return source


def logging_option(name: str) -> Callable[[Path, Node], Node]:
    def more(here: Path, node: Node) -> Node:
        handlers = {
            "a": {"()": node["_target_"], **{key: value for key, value in node.items() if not key.startswith("_")}}
        }
        put(
            here,
            f"conf/hydra/{name}/evil.yaml",
            dumped({"version": 1, "handlers": handlers, "root": {"handlers": ["a"]}}),
        )
        return {"instead": {f"override hydra/{name}": "evil"}}

    return more


def hydra_option(name: str, typed: str) -> Callable[[Path, Node], list[str]]:
    def source(here: Path, node: Node) -> list[str]:
        put(here, f"conf/hydra/{name}/evil.yaml", dumped({"a": node} if name == "callbacks" else node))
        return [f"{typed}hydra/{name}=evil"]

    return source


def search_path(here: Path, node: Node) -> Node:
    put(here, "elsewhere/callbacks/evil.yaml", dumped({"evil": node}))
    return {"hydra": {"searchpath": [f"file://{here}/elsewhere", "pkg://canary"]}}


def rows(here: Path, node: Node) -> list[str]:
    put(here, "jobs.yaml", dumped([{"task": node}, {"hydra": {"callbacks": {"a": node}}}]))
    return ["sweep.jobs=jobs.yaml"]


def table(here: Path, node: Node) -> list[str]:
    cells = {"task._target_": node["_target_"], "hydra.callbacks": dumped(node), "+evil": dumped(node)}
    put(
        here,
        "jobs.csv",
        ",".join(cells) + "\n" + ",".join('"' + text.replace('"', '""') + '"' for text in cells.values()) + "\n",
    )
    return ["sweep.jobs=jobs.csv"]


def text_file(here: Path, node: Node) -> list[str]:
    put(here, "prompt.txt", f"{dumped(node)} ${{oc.decode:{dumped(node)}}} ${{hydra:{node['_target_']}}}")
    return ["prompt=@prompt.txt"]


def model(here: Path, node: Node) -> list[str]:
    """A checkpoint whose json files name what is hostile."""
    folder = here / "model"
    shutil.copytree(Path(composer.__file__).parent / "tiny" / "checkpoint" / "text2img", folder)
    module, _, name = node["_target_"].rpartition(".")
    index = json.loads((folder / "model_index.json").read_text())
    put(folder, "model_index.json", dumped({**index, "scheduler": [module, name], "vae": [module, name], "evil": node}))
    put(folder, "scheduler/scheduler_config.json", dumped({"_class_name": node["_target_"], **node}))
    content = {"auto_map": {"AutoTokenizer": [None, "canary.Canary"]}, "tokenizer_class": node["_target_"]}
    put(folder, "tokenizer/tokenizer_config.json", dumped(content))
    shutil.copy(here / "canary.py", folder / "canary.py")
    return [f"model.source={folder}"]


def typed(key: str) -> Callable[[Path, Node], list[str]]:
    return lambda here, node: [f"{key}={_grammar(node)}"]


def _grammar(node: Any) -> str:
    """A node as Hydra's grammar writes it."""
    if isinstance(node, dict):
        return "{" + ",".join(f"{key}:{_grammar(value)}" for key, value in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(_grammar, node)) + "]"
    return json.dumps(node) if not isinstance(node, str) else "'" + node.replace("\\", "\\\\").replace("'", "\\'") + "'"


def record(here: Path, node: Node) -> dict[str, Any]:
    content = json.loads((here / "honest" / "run.json").read_text())
    content["config"]["task"] = node
    content["config"]["callbacks"] = {"evil": node}
    content["config"]["hydra"] = {"callbacks": {"a": node}}
    return content


def run_json(here: Path, node: Node) -> list[str]:
    put(here, "evil/run.json", dumped(record(here, node)))
    return ["@rerun", "evil"]


def png(here: Path, node: Node) -> list[str]:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(metadata.KEY, dumped(record(here, node)))
    Image.new("RGB", (32, 32)).save(here / "evil.png", pnginfo=chunks)
    return ["@rerun", "evil.png"]


def sweep_json(here: Path, node: Node) -> list[str]:
    content = {
        "overrides": [f"task._target_={node['_target_']}"],
        "manner": [f"+hydra.callbacks.a={_grammar(node)}"],
        "cwd": str(here),
    }
    put(here, "sweep/sweep.json", dumped(content))
    return ["@resume", "sweep"]


def environment(here: Path, node: Node) -> list[str]:
    """What variables hold is text, `EVIL` included, whoever asks for it."""
    put(
        here,
        "conf/experiment/evil.yaml",
        "# @package _global_\ntask: ${oc.decode:${oc.env:EVIL}}\nevil: ${oc.env:HYDRA_MAIN_MODULE,1}\n",
    )
    return ["+experiment=evil"]


#: Everywhere a config may come from.
SOURCES: dict[str, Callable[[Path, Node], list[str]]] = {
    **{f"option of {name}": group(name) for name in GROUPS},
    "option that hides composer's": shadowing,
    "compose.yaml": main(lambda here, node: {"hydra": {"callbacks": {"a": node}}}),
    "compose.yaml's own keys": main(lambda here, node: {"task": node, "evil": node}),
    "experiment": experiment(lambda node: {"task": node, "callbacks": {"evil": node}}),
    "nested settings": experiment(
        lambda node: {"scheduler": {"trained_betas": [node]}, "model": {"components": {"vae": node}}}
    ),
    "--config-dir": experiment(lambda node: {"hydra": {"callbacks": {"a": node}}}, "own", ("--config-dir", "own")),
    "hydra.callbacks of a file": experiment(lambda node: {"hydra": {"callbacks": {"a": node}}}),
    "hydra.launcher of a file": experiment(lambda node: {"hydra": {"launcher": node}}),
    "hydra.sweeper of a file": experiment(lambda node: {"hydra": {"sweeper": node}}),
    "hydra.run.dir of a file": experiment(lambda node: {"hydra": {"run": {"dir": node}, "sweep": {"dir": node}}}),
    "hydra.job of a file": experiment(
        lambda node: {"hydra": {"job": {"env_set": {"PYTHONSTARTUP": "canary.py"}, "config": node}}}
    ),
    "hydra/callbacks": hydra_option("callbacks", "+"),
    "hydra/job_logging": main(logging_option("job_logging")),
    "hydra/hydra_logging": main(logging_option("hydra_logging")),
    "hydra/launcher": hydra_option("launcher", ""),
    "hydra/sweeper": hydra_option("sweeper", ""),
    "hydra.searchpath": main(search_path),
    "run.json": run_json,
    "PNG": png,
    "sweep.json": sweep_json,
    "jobs YAML": rows,
    "jobs CSV": table,
    "@file": text_file,
    "json of a model": model,
    "environment": environment,
    "typed task": typed("task"),
    "typed new key": typed("+evil"),
    "typed hydra": typed("+hydra.callbacks.a"),
    "typed callbacks": typed("callbacks"),
}


def line(here: Path, source: str, target: str, command: str) -> list[str]:
    """Write a source with a target into a folder, and give the words of a command that leads there."""
    put(here, "canary.py", f"{TOUCH}\nclass Canary: pass\ndef canary(): pass\n")
    put(here, "hubconf.py", f"{TOUCH}\ndef canary(): pass\n")
    put(here, "victim/precious", "mine")
    (here / "evil.pt").write_bytes(f"cposix\nsystem\n(S'touch {MARK}'\ntR.".encode())
    words = SOURCES[source](here, TARGETS[target])
    if words and words[0].startswith("@"):
        return [words[0][1:], *words[1:]]
    template = COMMANDS[command]
    known = source.removeprefix("option of ") if source.startswith("option of ") else "experiment"
    small = SMALL[:3] if "callbacks" in source else SMALL
    return [typed for word in template for typed in ({"{}": [*small, *words], "{list}": [known]}.get(word, [word]))]


def harmed(here: Path) -> bool:
    """Whether something was called."""
    return (here / MARK).exists() or not (here / "victim" / "precious").exists()
