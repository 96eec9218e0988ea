"""Hydra composes and does nothing else: what option files say to Hydra itself is refused, what is typed has an effect
or is refused.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hydra import version
from hydra.core.global_hydra import GlobalHydra
from tiers import sampled

from composer.config.compose import compose_config
from composer.errors import shorten_middle

CALLBACK = (
    "callbacks: {a: {_target_: pathlib.Path.write_text, _args_: [{_target_: pathlib.Path, _args_: [PWNED]}, text]}}"
)
#: What an option file may say to Hydra → the key that is refused.
NODES = {
    CALLBACK: "hydra.callbacks.a._target_=pathlib.Path.write_text",
    "job_logging: {version: 1, root: {handlers: [a]}, handlers: {a: {class: logging.FileHandler, filename: PWNED}}}": (
        "hydra.job_logging."
    ),
    "hydra_logging: {version: 1, root: {handlers: [a]}, handlers: {a: {'()': os.system, command: touch PWNED}}}": (
        "hydra.hydra_logging."
    ),
    "launcher: {_target_: os.system, command: touch PWNED}": "output/auto",
    "sweeper: {_target_: os.system, command: touch PWNED}": "output/auto",
    "run: {dir: /tmp}": "hydra.run.dir=/tmp",
    "sweep: {dir: /tmp}": "hydra.sweep.dir=/tmp",
    "mode: MULTIRUN": "hydra.mode=MULTIRUN",
    "output_subdir: .hydra": "hydra.output_subdir=.hydra",
    "job: {chdir: true}": "hydra.job.chdir=True",
    "job: {env_set: {LD_PRELOAD: ./a.so}}": "hydra.job.env_set.LD_PRELOAD=./a.so",
    "verbose: true": "hydra.verbose=True",
}
#: Lines that compose: a run, a sweep, another's launcher, and commands.
LINES = {
    "run": ("steps=1",),
    "sweep": ("-m", "steps=1,2"),
    "launcher": ("-m", "hydra/launcher=basic", "steps=1,2"),
    "search": ("-m", "hydra/sweeper=optuna", "steps=1,2"),
    "plan": ("plan", "-m", "steps=1,2"),
    "cfg": ("--cfg", "all"),
    **{command: (command, "steps=1") for command in ("check", "show", "config")},
}


@pytest.fixture
def option(tmp_path):
    """Write a project's own option file of `output`, and return its path."""

    def write(text: str, location: str = "output/auto.yaml") -> Path:
        file = tmp_path / "conf" / location
        file.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / ".composer").touch()
        file.write_text(text)
        return file

    return write


def refused(done, message: str, *files: Path) -> None:
    assert done.code == 2 and done.err.count("\n") == 1 and message in done.err, done.err
    assert all(file.name in done.err for file in files), done.err
    assert not done.out and not Path("PWNED").exists() and {path.name for path in Path.cwd().iterdir()} <= {"conf"}


@pytest.mark.parametrize(("node", "key"), NODES.items(), ids=[node.split(":")[0] for node in NODES])
def test_an_option_file_sets_nothing_of_hydra(compose, option, node, key):
    file = option(f"# @package _global_\noutput: {{format: png}}\nhydra: {{{node}}}\n")
    refused(compose("steps=1"), key, *([file] if key.startswith("hydra") else []))


@pytest.mark.parametrize("words", LINES.values(), ids=list(LINES))
def test_every_command_refuses_hydra_settings_of_files(compose, option, words):
    file = option(f"# @package _global_\noutput: {{format: png}}\nhydra: {{{CALLBACK}}}\n")
    refused(compose(*words), "hydra.callbacks.a._target_=pathlib.Path.write_text", file)


#: Other ways into Hydra's node: path → content of a file, and words.
WAYS = {
    "package": ({"output/auto.yaml": "# @package hydra.callbacks.a\n_target_: os.getcwd\n"}, ()),
    "escaped": ({"output/auto.yaml": '# @package _global_\noutput: {format: png}\n"\\x68ydra": {verbose: true}\n'}, ()),
    "own_group": ({"experiment/a.yaml": f"# @package _global_\nhydra: {{{CALLBACK}}}\n"}, ("+experiment=a",)),
    "defaults": ({"experiment/a.yaml": "# @package _global_\ndefaults: [/other@hydra.callbacks: b]\n",
            "other/b.yaml": "a: {_target_: x}"},
                 ("+experiment=a",)),
    "hydras_group": ({"compose.yaml": "defaults: [override hydra/job_logging: b]\nsteps: 1\nseed: 1\n",
                      "hydra/job_logging/b.yaml": "version: 1\nroot: {handlers: []}\n"}, ()),
    "hydras_option": ({"compose.yaml": "defaults: [override hydra/hydra_logging: default]\nsteps: 1\nseed: 1\n"}, ()),
    "typed_package": ({"other/b.yaml": "a: {_target_: os.getcwd}\n"}, ("+other@hydra.callbacks=b",)),
    "main": ({"compose.yaml": f"hydra: {{{CALLBACK}}}\nsteps: 1\nseed: 1\n"}, ()),
    "searchpath": ({"compose.yaml": "hydra: {searchpath: ['pkg://evil']}\n",
            "../evil/__init__.py": "open('PWNED', 'w')\n"}, ()),
    "searchpath_by_a_key": ({"compose.yaml": "hydra: ${x}\nx: {searchpath: ['pkg://evil']}\n"}, ()),
}  # fmt: skip


STARTS = {"run": (), "sweep": ("-m", "seed=1,2"), "launcher": ("-m", "seed=1,2", "hydra/launcher=basic")}


@pytest.mark.parametrize(("way", "start"), sampled([*WAYS], STARTS))
def test_no_way_leads_into_the_node_of_hydra(compose, option, way, start, tmp_path, monkeypatch):
    (files, words), line = WAYS[way], STARTS[start]
    monkeypatch.syspath_prepend(tmp_path)
    for location, text in files.items():
        option(text, location)
    done = compose("steps=1", *words, *line)
    assert done.code == 2 and done.err.startswith("compose: hydra") and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "PWNED").exists() and not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("location", "text"),
    {
        "output/auto.yaml": "# @package _global_\noutput: {format: png}\nhydra: {searchpath: [a]}\n",
        "hydra/config.yaml": "callbacks: {}\n",
        "hydra/sweeper/basic.yaml": "_target_: pathlib.Path.touch\nself: PWNED\n",
    }.items(),
)
def test_a_file_that_hydra_itself_rejects_is_named(compose, option, location, text):
    file = option(text, location)
    for line in ((), ("-m", "seed=1,2"), ("-m", "seed=1,2", "hydra/launcher=basic")):
        refused(compose("steps=1", *line), f"config={shorten_middle(file)}: is about Hydra's own node")


def test_a_projects_compose_yaml_without_defaults(compose, option):
    file = option("steps: 1\n", "compose.yaml")
    refused(
        compose("scheduler=euler"),
        f"config={shorten_middle(file)}: stands for composer's own compose.yaml and has no list of defaults",
    )


def test_hydra_groups_of_a_file_are_refused_by_name(compose, option):
    option("a: {_target_: os.getcwd}\n", "hydra/callbacks/evil.yaml")
    refused(compose("+hydra/callbacks=evil"), "hydra/callbacks=evil: Hydra's callbacks are not called here")
    refused(
        compose("-m", "seed=1,2", "hydra/callbacks=evil", "hydra/launcher=basic"),
        "hydra.callbacks.a._target_=os.getcwd",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hydra.callbacks.a=1"], "composer's own are callbacks=[…]"),
        (["hydra/callbacks=mlflow"], "composer's own are callbacks=[…]"),
        (["hydra.searchpath=[pkg://evil]"], "--config-dir DIR"),
        (["hydra.verbose=true"], "-v lets the libraries speak"),
        (["hydra.job.chdir=true"], "has no effect on a run"),
        (["hydra.mode=MULTIRUN"], "several runs need -m"),
        (["hydra={verbose: true}"], "has no effect on a run"),
        (["hydra.sweep.dir=a"], "is about several runs: add -m"),
        (["hydra/launcher=joblib"], "is about several runs: add -m"),
        (["hydra.run.dir=a", "output.folder=b"], "name two folders"),
        (["-m", "seed=1,2", "hydra.callbacks.a=1"], "composer's own are callbacks=[…]"),
        (
            ["check", "-m", "seed=1,2", "hydra/launcher=joblib"],
            "chooses how Hydra runs jobs, which has no effect on a sweep",
        ),
        (
            ["plan", "-m", "seed=1,2", "hydra.launcher.n_jobs=2"],
            "chooses how Hydra runs jobs, which has no effect on a sweep",
        ),
        (["-m", "seed=1,2", "hydra.verbose=true"], "-v lets the libraries speak"),
        (["-m", "seed=1,2", "hydra/job_logging=stdout"], "has no effect on a sweep"),
        (["-m", "seed=1,2", "hydra/launcher=joblib"], "is not installed: pip install hydra-joblib-launcher"),
        (["-m", "seed=1,2", "hydra/launcher=submitit_local"], "is not installed: pip install hydra-submitit-launcher"),
        (["-m", "seed=1,2", "hydra/sweeper=ax"], "is not installed: pip install hydra-ax-sweeper"),
        (["-m", "seed=1,2", "hydra/launcher=baisc"], "there is no such option"),
        (["-m", "seed=1,2", "hydra/launcher=basic", "output.folder=a"], "hydra.sweep.dir=DIR is where files go"),
        (["-m", "seed=1,2", "hydra/launcher=basic", "sweep.limit=1"], "is about composer's own sweeps"),
        (["-m", "seed=1,2", "hydra/launcher=basic", "hydra.searchpath=[a]"], "--config-dir DIR"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_typed_hydra_settings_work_or_are_refused(compose, words, message):
    refused(compose(*words), message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "a blue cube"], 'Type prompt="…"'),
        (["--info"], "`compose config`"),
        (["-i", "all"], "`compose config`"),
        (["--hydra-help"], "`compose --help`"),
        (["--shell-completion", "install=bash"], "`compose completion bash`"),
        (["--config-path", "a"], "--config-dir DIR"),
        (["--resolve"], "goes with --cfg job"),
        (["--package", "scheduler"], "goes with --cfg job"),
        (["--cfg"], "(allowed: job, hydra, all)"),
        (["--cfg", "job", "--package", "nowhere"], "there is no such node"),
        (["--cfg", "job", "-m", "seed=1,2"], "shows one run"),
        (["show", "--cfg", "job"], "does not go with a command"),
        (["config", "-m", "seed=1,2"], "check and plan take it"),
        (["list", "-m"], "check and plan take it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_of_hydra_work_or_are_refused(compose, words, message):
    refused(compose(*words), message)


def test_cfg_prints_the_config(compose):
    assert compose("--cfg", "job", "--package", "guidance", "guidance=cfg").out.startswith(
        "# @package guidance\n_target_: "
    )
    assert "seed: 7" in compose("-c", "job", "seed=7").out and "hydra:" not in compose("-c", "job").out
    assert (
        "dir: a/7" in compose("--cfg=all", "--package=hydra.run", "seed=7", "hydra.run.dir=a/${seed}", "--resolve").out
    )


def test_a_folder_can_be_named_after_the_overrides(compose):
    shown = ("--cfg", "hydra", "--package", "hydra.run", "--resolve")
    assert "dir: a/seed=7" in compose(*shown, "seed=7", "hydra.run.dir=a/${hydra.job.override_dirname}").out
    assert "dir: a/b" in compose(*shown, "hydra.job.name=b", "hydra.run.dir=a/${hydra.job.name}").out


@pytest.mark.parametrize("key", ["hydra.run.dir", "output.folder"])
@pytest.mark.parametrize("mark", [":", "."])
def test_a_folder_can_be_named_after_options(compose, key, mark):
    done = compose(
        "steps=1", "callbacks=[]", "scheduler=euler", f"{key}=a/${{hydra{mark}runtime.choices.scheduler}}-${{seed}}"
    )
    assert done.code == 0 and Path("a/euler-0/run.json").is_file(), done.err
    assert compose("rerun", "a/euler-0", "output.folder=b").code == 0


def test_a_file_names_no_folder_outside_of_the_current_one(compose, option, tmp_path):
    option(f"format: png\nfolder: {tmp_path.parent}/elsewhere\n")
    refused(compose("steps=1"), "is set by an option file, and is not inside the current folder")
    assert not (tmp_path.parent / "elsewhere").exists()


def test_composing_leaves_hydra_as_it_was():
    chosen = version.VersionBase.instance()
    before = chosen.version_base
    compose_config(["scheduler=euler"])
    assert not GlobalHydra.instance().is_initialized() and chosen.version_base is before


def test_threads_compose_their_own_requests():
    names, results = ["euler", "ddim", "heun", "lms"], {}
    wait = threading.Barrier(len(names))

    def compose(name: str) -> None:
        wait.wait()
        results[name] = [compose_config([f"scheduler={name}", f"seed={i}"]) for i in range(2)]

    threads = [threading.Thread(target=compose, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: [config.chosen.scheduler for config in configs] for name, configs in results.items()} == {
        name: [name] * 2 for name in names
    }
