"""Imports point down only: each package knows those below it, and none beside or above it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import composer

ROOT = Path(composer.__file__).parent
#: The packages, lowest first. Those of one line do not know each other.
FLOORS = (
    "errors version compat",
    "system tiny",
    "images",
    "media",
    "callbacks",
    "config",
    "checkpoints sampling",
    "loading families",
    "tasks tools metrics",
    "checks",
    "options records",
    "pipelines",
    "recipes",
    "sweeps reruns training",
    "api",
    "hub",
    "resident server testing",
    "outputs",
    "cli",
)
RANK = {package: level for level, packages in enumerate(FLOORS) for package in packages.split()}
#: The two modules that stand for the package: what users import, and `python -m composer`.
FACADE = ("composer", "composer.__main__")
#: Libraries → the packages that may import them at all, and those that may at import time.
ANYWHERE = {
    "hydra": "config sweeps cli",
    "omegaconf": "config sweeps reruns cli",
    "optuna": "sweeps",
    "ray": "sweeps",
}
AT_IMPORT = {
    "torch": "sampling loading families options pipelines testing tiny training",
    "diffusers": "sampling loading options pipelines testing tiny training compat",
    "transformers": "testing tiny",
}
#: Libraries whose private names only compat may use, and private names of other ones that are used elsewhere.
LIBRARIES = ("accelerate", "diffusers", "transformers")
OTHERS = {
    "_compiled_call_impl", "_dynamo", "_exit", "_inductor", "_is_amx_tile_supported", "_is_avx512_bf16_supported",
    "_pytree", "_run", "_run_exitfuncs", "_version",
}  # fmt: skip
#: Of these packages, modules that a refusal passes through: they import no torch at import time either.
TORCH_FREE = (
    "sampling.callback_methods", "sampling.custom_steps", "sampling.guidance", "sampling.hooks", "sampling.loop",
    "sampling.sampler", "families.base", "families.components", "families.distinct", "families.prompt_weights",
    "families.settings", "options.base", "pipelines.check_facts", "pipelines.description", "pipelines.light_parts",
    "pipelines.long_prompts", "pipelines.offers", "pipelines.run", "pipelines.trial", "loading.check_cache",
    "loading.load_options", "tiny.captions", "tiny.known", "tiny.scenes", "training.buckets", "training.data",
    "training.first_file", "training.order", "training.plan", "training.run", "training.settings", "training.spec",
)  # fmt: skip


@cache
def modules() -> dict[str, ast.Module]:
    """Dotted name → syntax tree, of all that is imported as part of composer."""
    trees = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        if "template" not in parts and "conf" not in parts:
            trees[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text("utf-8"))
    return trees


def package(module: str) -> str:
    return module.split(".")[1]


def imported(tree: ast.AST, top_only: bool = False) -> set[str]:
    """Dotted names that a module imports: annotations and imports inside of functions count, unless `top_only`."""
    names: set[str] = set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if top_only and (
                isinstance(child, ast.FunctionDef)
                or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            ):
                continue
            if isinstance(child, ast.Import):
                names.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                names.add(child.module)
                names.update(f"{child.module}.{alias.name}" for alias in child.names)
            walk(child)

    walk(tree)
    return names


@cache
def edges() -> dict[str, set[str]]:
    """Module → the modules of composer that it imports."""
    known = modules()
    return {
        name: {other for other in imported(tree) if other in known and other not in (name, "composer")}
        for name, tree in known.items()
    }


def of(names: set[str], library: str) -> set[str]:
    return {name for name in names if name == library or name.startswith(f"{library}.")}


def test_every_module_is_in_a_package():
    assert {package(name) for name in modules() if name not in FACADE} == set(RANK)
    assert len(list(ROOT.glob("*.py"))) <= 8


def test_imports_point_down():
    for importer, targets in edges().items():
        for target in targets:
            if importer not in FACADE:
                upper, lower = package(importer), package(target)
                assert upper == lower or RANK[upper] > RANK[lower], (importer, target)


def test_no_module_imports_itself_by_way_of_others():
    graph, done = edges(), set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in graph[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        if name not in FACADE:
            visit(name, ())


def test_libraries_stay_in_their_packages():
    for name, tree in modules().items():
        for library, packages in ANYWHERE.items():
            assert not of(imported(tree), library) or package(name) in packages.split(), (name, library)
        for library, packages in AT_IMPORT.items():
            allowed = (
                name not in FACADE
                and not name.endswith(".info")  # of a family: read before any weights are loaded
                and package(name) in packages.split()
                and name.removeprefix("composer.") not in TORCH_FREE
            )
            assert allowed or not of(imported(tree, top_only=True), library), (name, library)


def test_the_lists_name_only_what_there_is():
    """An entry that nothing needs any more would let something else through."""
    trees = modules()
    assert not {f"composer.{name}" for name in TORCH_FREE} - set(trees)
    elsewhere = [tree for name, tree in trees.items() if name not in FACADE and package(name) != "compat"]
    text = "\n".join(ast.unparse(tree) for tree in elsewhere)
    assert not {name for name in OTHERS if not re.search(rf"\b{name}\b", text)}
    for table, top_only in ((ANYWHERE, False), (AT_IMPORT, True)):
        for library, packages in table.items():
            importing = {package(name) for name, tree in trees.items()
                         if name not in FACADE and of(imported(tree, top_only), library)}  # fmt: skip
            assert not set(packages.split()) - importing, f"{library} is not imported there: take them off the list"


def test_private_names_of_the_libraries_stay_in_compat():
    """An attribute that begins with an underscore is composer's own, one of torch, hydra or the standard library, or
    only compat may use it.
    """
    known = {name for tree in modules().values() for name in defined(tree)}
    for name, tree in modules().items():
        for node in ast.walk(tree):
            private = []
            if isinstance(node, ast.Attribute):
                private = [node.attr]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
                private = [alias.name for alias in node.names]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr", "delattr"):
                private = [
                    arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                ]
            for attribute in private:
                if attribute.startswith("_") and not attribute.startswith("__") and package(f"{name}.") != "compat":
                    assert attribute in known | OTHERS, (
                        f"{name}:{node.lineno}: {attribute} is private: use composer.compat"
                    )


def defined(tree: ast.Module) -> set[str]:
    """Names that begin with an underscore and that a module defines: functions, classes, variables and attributes."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
    return names


def test_the_loop_and_callbacks_know_no_diffusers():
    for name, tree in modules().items():
        if name.startswith("composer.callbacks") or name in [
            f"composer.sampling.{module}" for module in ("loop", "sampler", "guidance", "hooks")
        ]:
            assert not of(imported(tree), "diffusers") and not of(imported(tree), "transformers"), name


def test_families_know_no_other_family():
    from composer.checkpoints.layouts import families

    concrete = {info.family.partition(":")[0] for info in families().values()}
    for name, targets in edges().items():
        if name.startswith(("composer.families.", "composer.tasks.")):
            assert not (targets - {name}) & concrete, name


def test_nothing_dangerous_is_called():
    forbidden = ("instantiate", "eval", "exec")
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in forbidden and not called.startswith(("pickle.", "yaml.load")), f"{name}: {called}"
                if called == "torch.load":
                    assert "weights_only=True" in ast.unparse(node) and package(name) in (
                        "tiny",
                        "checkpoints",
                        "training",
                    ), f"{name}: {called}"


def test_callbacks_use_what_those_of_others_can():
    """The protocol, and helpers that know nothing of a run; no private attributes but their own."""
    names = "callbacks.base callbacks.request errors system.constraints system.files system.memory images.charts"
    names += " images.masks images.tones"
    allowed = {f"composer.{name}" for name in [*names.split(), "media.medium"]}
    for name, targets in edges().items():
        if name.startswith("composer.callbacks."):
            assert (
                targets - {"composer.system", "composer.images", "composer.media", "composer.callbacks"} <= allowed
            ), name
            for node in ast.walk(modules()[name]):
                if isinstance(node, ast.Attribute) and node.attr.startswith("_") and name != "composer.callbacks.base":
                    assert ast.unparse(node.value) == "self", f"{name}: {ast.unparse(node)}"
