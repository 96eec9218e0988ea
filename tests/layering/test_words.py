"""The words of composer's code and docs are those of the field: none of HOUSE's left columns is used.

`python tests/layering/test_words.py [PATH …]` lists the hits by file.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parents[2]
#: Word → what to write instead. Each is a regular expression of a complete word or phrase, in any case.
INSTEAD = {
    r"pictur(e|es|ed)": "image",
    r"draw|draws|drawn|drawing|drew": "generate",
    r"told|tells?|telling|heard|hears?": "notes, warn, print",
    r"verbs?": "command",
    r"houses?|rooms?|doors?": "package, module, boundary; memory, space",
    r"strangers?": "third-party, untrusted",
    r"(leav(e|es|ing)|left) away": "omit",
    r"lies?|lay|lying|stands?|stood": "is stored, is defined",
    r"a line says( so)?": "a note is printed",
    r"sums": "hash, SHA-256",
    r"said|asked|wanted": "parsed, requested",
    r"places?": "directory, path",
    r"whole": "complete, integer",
    r"dear|dearer|dearest": "expensive",
    r"(is|are|was|be) at it": "holds the lock",
    r"(have|has|had|having) it be": "set, keep",
    r"shares? of": "batch, fraction",
    r"holders?": "pipe, components",
}
#: Words that are checked in names alone: elsewhere they are honest English.
IN_NAMES = {"numbers": "dtype", "share": "batch, fraction", "shares": "batches, fractions"}
#: Checked in the names of locals alone: the noun is at hand.
LOCALS = ("each", "found", "own", "there", "made")
#: Honest uses of these words, cut from a text before it is searched.
HONEST = re.compile(
    r"""ImageDraw(\.Draw)?|\.draw\w*\(            # Pillow's
    |draws?\ (at\ random|random\ \w+|lots)|random\ draws?|drawn\ (at\ random|from\ a\ seed)
    |whole\ (numbers?|words?)
    |no\ longer\ asked\ for  # a state of jobs in results.csv, sweep.json and `--json`
    |[`"'](asked|pictures|place|sums)[`"']  # keys of records, job ids, sweep.json, studies and the disk cache
    |in[ -]place(\ of)?|in\ (its|their)\ place|(take|takes|took|taking)\ (the\ )?place|decimal\ places?
    |stands?\ (in\ )?for|stand-ins?|(as|where)\ (it|they)\ stands?
    |lay(s|ing)?\b(?=[^.]{0,20}\bout\b)
    |dear\ (sir|madam)""",
    re.VERBOSE | re.IGNORECASE,
)
#: Files that hold these words on purpose: this list, renamed options, old records, and texts of others.
EXEMPT = ("tests/layering/test_words.py", "conf/renamed.yaml", "tests/data", "LICENSE", "CODE_OF_CONDUCT.md")
#: File → words that must stay there: captions, public names and methods of base classes.
DATA = {
    "composer/images/png.py": ("tell",),  # a method of io.RawIOBase
    "composer/records/result.py": ("numbers",),  # a public attribute of `Result`: indices of images
    "composer/tiny/captions.py": ("picture", "house"),
    "composer/tiny/instructions.py": ("place",),
    "composer/tiny/known.py": ("stands", "lying"),
    "tests/families/test_prompt_weights.py": ("house",),  # a prompt of another tool's documentation
    "tests/cli/test_commands.py": ("asked",),  # a key of `compose status --json`
}
_WORDS = {phrase: re.compile(rf"\b({phrase})\b", re.IGNORECASE) for phrase in INSTEAD}
_ANY = re.compile(rf"\b({'|'.join(INSTEAD)})\b", re.IGNORECASE)
_PART_OF_NAME = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


class Hit(NamedTuple):
    """One use of a word: in which line, as what, and what to write instead."""

    path: str
    line: int
    kind: str
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind} {self.word!r}: {self.instead}"


def package_of(path: str) -> str:
    """`composer/sweeps` of `composer/sweeps/report/page.py`, `docs` of `docs/x.md`."""
    parts = Path(path).parts
    return "/".join(parts[:2]) if parts[0] in ("composer", "tests") and len(parts) > 2 else parts[0]


def files() -> list[Path]:
    """All texts that are checked."""
    patterns = (
        "composer/**/*.py", "composer/**/*.template", "conf/**/*.yaml", "plugins/**/*.py", "plugins/**/*.md",
        "plugins/**/*.yaml", "benchmarks/*.py", "benchmarks/*.md", "tests/**/*.py", "docs/**/*.md", "*.md",
        "pyproject.toml", "constraints.txt",
    )  # fmt: skip
    paths = {path for pattern in patterns for path in TOP.glob(pattern) if path.is_file()}
    return sorted(path for path in paths if not _name(path).startswith(EXEMPT))


def _name(path: Path) -> str:
    return path.resolve().relative_to(TOP).as_posix()


def hits(path: Path) -> list[Hit]:
    """All uses of the words in one file."""
    name, text = _name(path), path.read_text("utf-8")
    if path.suffix == ".py":
        every = sorted([*_in_names(name, ast.parse(text)), *_in_python_texts(name, text)], key=lambda hit: hit.line)
    else:
        every = list(_in_lines(name, text, comments_only=path.suffix in (".yaml", ".toml", ".txt")))
    return [hit for hit in every if hit.word not in DATA.get(name, ())]


def _search(path: str, line: int, kind: str, text: str) -> Iterator[Hit]:
    plain = HONEST.sub(lambda match: "\n" * match[0].count("\n"), text)
    for match in _ANY.finditer(plain):
        instead = next(INSTEAD[phrase] for phrase, pattern in _WORDS.items() if pattern.fullmatch(match[0]))
        yield Hit(path, line + plain[: match.start()].count("\n"), kind, match[0], instead)


def _in_lines(path: str, text: str, comments_only: bool) -> Iterator[Hit]:
    for i, line in enumerate(text.splitlines(), 1):
        yield from _search(path, i, "text", line.partition("#")[2] if comments_only else line)


def _in_python_texts(path: str, text: str) -> Iterator[Hit]:
    """Comments, docstrings and messages."""
    f_texts = (getattr(tokenize, "FSTRING_MIDDLE", None),)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield from _search(path, token.start[0], "comment", token.string)
        elif token.type == tokenize.STRING or token.type in f_texts:
            yield from _search(path, token.start[0], "string", token.string)


def _in_names(path: str, tree: ast.Module) -> Iterator[Hit]:
    for line, name, is_local in _names(tree):
        if is_local and name in LOCALS:
            yield Hit(path, line, "local", name, "the noun")
        for part in _PART_OF_NAME.findall(name):
            instead = IN_NAMES.get(part.lower())
            if instead:
                yield Hit(path, line, "name", name, instead)
            yield from (hit._replace(word=name) for hit in _search(path, line, "name", part))


def _names(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Line and name of all that a module defines, and whether it is a local."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name, False
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg, False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id, True
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr, False


def test_the_fields_words_are_used():
    assert [str(hit) for path in files() for hit in hits(path)] == []


def _package(hit: Hit) -> str:
    return package_of(hit.path)


def test_words_are_found_where_they_are_used():
    source = 'def draw(picture):\n    """Told."""\n    each = "said"  # dear\n    whole_number = ImageDraw\n'
    found = [*_in_names("x.py", ast.parse(source)), *_in_python_texts("x.py", source)]
    assert sorted((hit.line, hit.word) for hit in found) == [
        (1, "draw"), (1, "picture"), (2, "Told"), (3, "dear"), (3, "each"), (3, "said"), (4, "whole_number"),
    ]  # fmt: skip


if __name__ == "__main__":
    selected = [Path(argument).resolve() for argument in sys.argv[1:]]
    listed = [path for path in files() if not selected or any(path.is_relative_to(folder) for folder in selected)]
    total = [hit for path in listed for hit in hits(path)]
    print(*total, sep="\n")
    print(*(f"{count:6} {name}" for name, count in Counter(map(_package, total)).most_common()), sep="\n")
