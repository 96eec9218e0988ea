"""MkDocs hook: pages of the reference, generated from `conf/`, the command registry and files of the repository."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from composer.config.comments import Setting, settings_of  # noqa: E402  # MkDocs runs this file from anywhere

CONF = ROOT / "conf"
OPTIONS = "reference/options/"
#: Groups whose options are chosen as a list, with settings below each option's name.
LISTS = ("memory", "accel", "callbacks", "metric")
#: Groups with a single option, whose settings are typed without choosing it.
SINGLE = ("sweep", "search", "sheet", "ray")
#: Groups in the order of the navigation → their introductions.
GROUPS = {
    "task": "The task declares the inputs of a run. Its keys are typed without a group: `strength=0.5`, `seed=7`.",
    "model": "The checkpoint. Every option has the same keys; `model=local` takes any checkpoint of yours.",
    "scheduler": (
        "The sampler. `compose list scheduler model=NAME` lists those that fit a model. Further arguments of the "
        "diffusers "
        "class can be set too: `scheduler.use_karras_sigmas=true`."
    ),
    "guidance": "How conditional and unconditional predictions are combined. `guidance=7.5` is short for "
    "`guidance.scale=7.5`.",
    "precision": (
        "The dtype, also per component: `precision=bf16 precision.vae=fp32`. The default is `fp32`, since only it "
        "gives the "
        "same image on every device and equals diffusers bit for bit. `precision=auto` is the fast choice on a GPU."
    ),
    "device": "`device=cuda:1` is the second GPU.",
    "memory": "Options that need less memory, as a list: `memory=[vae_tiling,attention_slicing]`.",
    "accel": "Options that are faster, as a list: `accel=[deepcache]`. An option without an effect on the model is "
    "refused.",
    "callbacks": "Callbacks in the order in which they run, as a list: `callbacks=[progress,preview]`.",
    "metric": "Numbers about each finished image, by which results are ranked: `metric=[distance,sharpness]`.",
    "output": "The format of the images, clips or sounds; `auto` follows from the task. `output.folder=DIR` sets the "
    "directory.",
    "preset": "A preset sets several groups and keys at once. What you type besides it has precedence.",
    "recipe": "Several steps instead of one run: `recipe=NAME`. Settings of a step are typed below its name, "
    "`STEP.KEY=VALUE`.",
    "tool": "What a step of a recipe does instead of a run: `STEP.tool=NAME`. Settings are typed below the step's "
    "name.",
    "sweep": "Settings of a sweep (`-m`).",
    "sheet": "Axes of the page of a sweep, and the order of its jobs.",
    "search": "Settings of a search by Optuna (`hydra/sweeper=optuna`).",
    "ray": "Settings of a sweep on several devices or machines (`hydra/launcher=ray`).",
}
#: Page of the site → the file of the repository that it shows, and where that file's links lead on the site.
COPIES = {
    "project/changelog.md": "CHANGELOG.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "extend/plugins.md": "plugins/README.md",
    "quality/benchmarks.md": "benchmarks/RESULTS.md",
}

#: Sections of the page of the Python API → the public names in each; constructor constraints come last.
SECTIONS = {
    "Running": "compose load check show list sweep rerun Result ComposerError",
    "Callbacks": "StepCallback Step Run Request Conditioning Embedding StopDenoising",
    "Tasks and guidance": "Task Inputs Start Guidance Branches",
    "Options of models": "ModelOption OptionContext",
    "Tools and metrics": "Tool Metric",
    "Families": "Family FamilyInfo Supports FamilySettings Decoded",
}


def on_config(config: Any) -> Any:
    """Insert the generated pages into the navigation."""
    pages = [{group: f"{OPTIONS}{group}.md"} for group in GROUPS]
    config.nav = [_filled(entry, pages) for entry in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages to the site."""
    known = {path.name for path in CONF.iterdir() if path.is_dir()}
    if known != set(GROUPS):
        raise ValueError(f"docs/reference_pages.py: groups differ from conf/: {sorted(known ^ set(GROUPS))}")
    for group in GROUPS:
        files.append(File.generated(config, f"{OPTIONS}{group}.md", content=group_page(group)))
    files.append(File.generated(config, "reference/index.md", content=overview_page()))
    files.append(File.generated(config, "reference/cli.md", content=commands_page()))
    files.append(File.generated(config, "reference/api.md", content=api_page()))
    for page, source in COPIES.items():
        files.append(File.generated(config, page, content=copied(page, ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links to files of the repository that are pages here lead to those pages, and drop marks of code blocks."""
    markdown = re.sub(r"^( *```\w+) no-run$", r"\1", markdown, flags=re.MULTILINE)
    depth = "../" * page.file.src_uri.count("/")
    for shown, source in COPIES.items():
        markdown = markdown.replace(f"]({depth}../{source})", f"]({depth}{shown})")
    outside = re.escape(f"{depth}../") + r"(?:plugins|benchmarks|tests|composer|conf)\b[^)]*"
    return re.sub(rf"\[([^\]]+)\]\({outside}\)", r"\1", markdown)


def group_page(group: str) -> str:
    """Return the page of a config group: each option with its settings, defaults and comments."""
    names = sorted(path.stem for path in (CONF / group).glob("*.yaml") if not path.stem.startswith("_"))
    parts = [f"# {group}\n\n{GROUPS[group]}\n"]
    if len(names) > 5:
        parts.append(
            "| option | |\n|---|---|\n" + "\n".join(f"| [`{group}={n}`](#{n}) | {_first(group, n)} |" for n in names)
        )
    base = _base(group)
    if base:
        parts.append(f"## Keys of every {group}\n\n{_table(group, '', base)}")
    for name in names:
        parts.append(_option(group, name, len(names) > 1))
    return "\n\n".join(parts) + "\n"


def overview_page() -> str:
    """Return the page that lists all groups, with the default of each."""
    rows = []
    for entry in yaml.safe_load((CONF / "compose.yaml").read_text("utf-8"))["defaults"]:
        for group, option in entry.items() if isinstance(entry, dict) else ():
            if group in GROUPS:
                default = "none" if not option else f"`{group}={_typed(option)}`"
                rows.append(f"| [{group}](options/{group}.md) | {default} | {GROUPS[group]} |")
    keys = [
        row for row in settings_of(CONF / "compose.yaml") if row.key in ("batch", "prompt_overflow", "prompt_syntax")
    ]
    return (
        "# Reference\n\nOn the command line, `group=option` chooses an option and `key=value` sets a value. `compose "
        "list GROUP`, "
        "`compose config` and shell completion show the same as these pages, with your own options and those of "
        "plugins.\n\n"
        "## Groups\n\n| group | default | |\n|---|---|---|\n" + "\n".join(rows) + "\n\n## Keys of every run\n\n"
        "| key | default | |\n|---|---|---|\n" + "\n".join(_row(row.key, row) for row in keys) + "\n\n"
        "The keys of the [task](options/task.md) are part of every run too.\n"
    )


def commands_page() -> str:
    """Return the page of the command line, from the registry of commands and the help text."""
    from composer.cli.help import TEXT
    from composer.config.commands import COMMANDS

    listed = re.findall(
        r"^  compose (\w+)(.*?)  +(\S.*)$", TEXT.partition("\nCommands\n")[2].partition("\n\n")[0], re.MULTILINE
    )
    if missing := set(COMMANDS) - {name for name, _, _ in listed}:
        raise ValueError(f"composer/cli/help.py does not describe the commands {sorted(missing)}")
    rows = [f"| `compose {(name + usage).strip()}` | {_cell(text)} |" for name, usage, text in listed]
    return (
        "# Command line\n\n`compose` without a command generates images; with `-m` it runs a sweep. A command takes "
        "the same "
        "overrides.\n\n| command | |\n|---|---|\n"
        + "\n".join(rows)
        + f"\n\n## `compose --help`\n\n```text\n{TEXT}```\n"
    )


def api_page() -> str:
    """Return the page of the public Python names, which mkdocstrings fills with their docstrings."""
    import composer

    homes = composer._HOMES
    sections = {section: names.split() for section, names in SECTIONS.items()}
    listed = {name for names in sections.values() for name in names}
    constraints = [name for name in homes if homes[name][0].endswith("constraints")]
    if rest := [name for name in homes if name not in listed and name not in constraints]:
        sections["Further names"] = rest
    parts = [
        "# Python API\n\nThese names are public; all other names in `composer` are private and may change in any "
        "release. "
        "[Python and notebooks](../python.md) is an introduction, [Public names](../public-api.md) says what each is "
        "for."
    ]
    for section, names in sections.items():
        parts.append(f"## {section}")
        parts += [f"::: {'.'.join(homes[name])}\n    options: {{heading: {name}, toc_label: {name}}}" for name in names]
    names = ", ".join(f"`{name}`" for name in constraints)
    parts.append(
        f"## Constraints of arguments\n\nAnnotations of constructor arguments, such as `Annotated[int, Ge(1)]`: "
        f"{names}."
    )
    return "\n\n".join(parts) + "\n"


def copied(page: str, source: Path) -> str:
    """Return a file of the repository with its links as they are on the site; links to other files become text."""
    depth = "../" * page.count("/")

    def link(match: re.Match[str]) -> str:
        text, target = match[1], match[2]
        if target.startswith(("http", "#")):
            return match[0]
        path = (source.parent / target).resolve()
        for other, shown in COPIES.items():
            if path == ROOT / shown:
                return f"[{text}]({depth}{other})"
        inside = path.is_relative_to(ROOT / "docs") and path.suffix == ".md"
        return f"[{text}]({depth}{path.relative_to(ROOT / 'docs').as_posix()})" if inside else text

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)]+)\)", link, source.read_text("utf-8"))


def _option(group: str, name: str, headed: bool) -> str:
    path = CONF / group / f"{name}.yaml"
    text, sets = path.read_text("utf-8"), ""
    rows = settings_of(path)
    if group == "task":
        rows = [row for row in rows if not row.key.startswith("task.")]
    if group == "preset":
        chosen = [f"`{g}={o}`" for g, o in re.findall(r"override /(\w+): (\S+)", text)]
        sets = f"Sets {', '.join([*chosen, *(f'`{row.key}={row.default}`' for row in rows)])}.\n\n"
        rows = []
    target = re.search(r"_target_: (\S+)", text)
    shown = f"Class: `{target[1]}`\n\n" if target and target[1].startswith("diffusers.") else ""
    head = f"## `{group}={name}` {{ #{name} }}\n\n{_first(group, name)}\n\n" if headed else ""
    return (head + sets + shown + (_table(group, name, rows) if rows else "")).rstrip()


def _base(group: str) -> list[Setting]:
    path = CONF / group / "_base.yaml"
    return settings_of(path) if path.is_file() else []


def _table(group: str, name: str, rows: list[Setting]) -> str:
    prefix = "" if group == "task" else f"{group}."
    return "| key | default | |\n|---|---|---|\n" + "\n".join(_row(prefix + row.key, row) for row in rows)


def _row(key: str, row: Setting) -> str:
    return f"| `{key}` | `{_cell(row.default)}` | {_cell(row.comment)} |"


def _first(group: str, name: str) -> str:
    """Return the first comment of an option file, with its address as a link."""
    lines = (CONF / group / f"{name}.yaml").read_text("utf-8").splitlines()
    text = next(line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line)
    return re.sub(r"(https://\S+)$", r"[more](\1)", _cell(text))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")


def _typed(option: Any) -> str:
    return f"[{','.join(option)}]" if isinstance(option, list) else str(option)


def _filled(entry: Any, pages: list[Any]) -> Any:
    """Replace the placeholder of the option pages in a navigation entry."""
    if isinstance(entry, dict):
        return {name: pages if value == OPTIONS else _filled(value, pages) for name, value in entry.items()}
    return [_filled(each, pages) for each in entry] if isinstance(entry, list) else entry
