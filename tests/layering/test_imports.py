"""Imports point down only; the rules of the house, read from the source."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import composer
from composer.layouts import LAYOUTS

ROOT = Path(composer.__file__).parent
#: record writes config.yaml with OmegaConf
HYDRA_ROOMS = {
    "api", "argv", "cli", "composing", "config", "explain", "folder", "jobs", "launchers", "plugin_list", "origins", "plugins", "printed",
    "record", "rerun", "sweep", "tied",
}  # fmt: skip
TORCH_FREE = {
    "words", "catalogue", "spellings", "stray", "devices", "facts", "listing", "noise", "early", "signatures",
    "headers", "folders", "index", "known_keys", "foreign", "single",
    "__init__", "__main__", "cli", "argv", "config", "errors", "explain", "help", "plugins", "quiet", "spec",
    "targets", "check", "checkpoint", "execute", "api", "jobs", "line", "families/__init__", "families/base", "families/settings",
    "components", "sources", "images", "seams", "samples/__init__", "samples/make", "callbacks/__init__", "callbacks/base",
    "callbacks/keep", "callbacks/overlay", "guidance", "sampler", "denoise", "hooks", "needs", "files", "installed",
    "custom_steps", "recommend", "plugin_list", "plugin_new", "shipped", "completion", "overflow", "secret", "speak", "verbs", "composing",
    "folder", "launchers", "printed", "tied", "typed",
    "families/distinct", "image_texts", "png", "comments", "texts", "homes", "leavings", "tiny/known", "tiny/captions",
    "clean", "loading",
}  # fmt: skip


@cache
def modules() -> dict[str, ast.Module]:
    return {str(path.relative_to(ROOT).with_suffix("")): ast.parse(path.read_text("utf-8")) for path in ROOT.rglob("*.py")}


@cache
def imported(tree: ast.AST, top_only: bool = False) -> set[str]:
    """Dotted names that a module imports, outside of `if TYPE_CHECKING`."""
    names: set[str] = set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if top_only and isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                continue
            if isinstance(child, ast.Import):
                names.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                names.add(child.module)
                names.update(f"{child.module}.{alias.name}" for alias in child.names)
            walk(child)

    walk(tree)
    return names


def uses(names: set[str], *packages: str) -> set[str]:
    return {name for name in names if any(name == package or name.startswith(f"{package}.") for package in packages)}


def test_there_are_modules_to_check():
    assert len(modules()) > 35


def test_hydra_and_omegaconf_stop_at_the_door():
    for name, tree in modules().items():
        if name.split("/")[0] not in HYDRA_ROOMS:
            assert not uses(imported(tree), "hydra", "omegaconf"), name


def test_diffusers_stays_out_of_the_loop():
    for name, tree in modules().items():
        if name in ("denoise", "guidance", "sampler", "hooks") or name.startswith("callbacks/"):
            assert not uses(imported(tree), "diffusers", "transformers"), name


def test_families_know_no_task_and_no_other_family():
    for name, tree in modules().items():
        if name.startswith("families/") and name != "families/__init__":
            families = {layout.path.rpartition(".")[0] for layout in LAYOUTS.values()}  # the rest is what they share
            assert not uses(imported(tree), *families, "composer.tasks"), name


def test_tasks_know_no_concrete_family():
    for name, tree in modules().items():
        if name.startswith("tasks/"):
            assert {n.rsplit(".", 1)[0] for n in uses(imported(tree), "composer.families")} <= {
                "composer.families",
                "composer.families.base",
            }, name


def test_the_path_to_a_refusal_imports_no_torch():
    for name, tree in modules().items():
        if name in TORCH_FREE or name.startswith("tasks/"):
            assert not uses(imported(tree, top_only=True), "torch", "diffusers", "transformers", "accelerate"), name


def test_nothing_dangerous_is_called():
    forbidden = ("instantiate", "eval", "exec")
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in forbidden and not called.startswith(("pickle.", "yaml.load")), f"{name}: {called}"
                if called == "torch.load":
                    assert "weights_only=True" in ast.unparse(node) and name.startswith("tiny/"), f"{name}: {called}"


def test_the_protocol_imports_nothing_of_the_house():
    assert not uses(imported(modules()["callbacks/base"]), "composer")


def test_our_own_callbacks_use_what_strangers_can():
    """The protocol, and helpers that know nothing of a run; nobody's private attributes but their own."""
    helpers = tuple(f"composer.{name}" for name in ("callbacks.base", "errors", "files", "plot", "seams", "usage"))
    for name, tree in modules().items():
        if name.startswith("callbacks/") and name not in ("callbacks/base", "callbacks/__init__"):
            assert uses(imported(tree), "composer") == uses(imported(tree), *helpers), name
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                    assert ast.unparse(node.value) == "self", f"{name}: {ast.unparse(node)}"


def test_nothing_below_the_door_reaches_back_up():
    rooms = ("cli", "line", "jobs", "api", "argv", "config", "explain", "plugins", "plugin_list", "plugin_new", "shipped", "show", "sweep",
             "catalogue", "spellings", "stray", "listing")  # fmt: skip
    above = tuple(f"composer.{room}" for room in rooms)
    below = (
        "headers",
        "folders",
        "index",
        "known_keys",
        "foreign",
        "single",
        "check",
        "checkpoint",
        "components",
        "sources",
        "images",
        "image_texts",
        "png",
        "seams",
        "pixels",
        "build",
        "weights",
        "precision",
        "pipeline",
        "refine",
        "denoise",
        "hooks",
        "sampler",
        "guidance",
        "spec",
        "targets",
        "needs",
        "files",
        "installed",
        "residue",
        "guiders",
        "classic",
    )
    for name, tree in modules().items():
        if name in below or name.startswith(("families/", "tasks/", "callbacks/")):
            assert not uses(imported(tree), *above), name
