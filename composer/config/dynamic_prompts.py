r"""The syntax of ``prompt_syntax=dynamic``: ``{a|b}``, ``{2$$a|b|c}``, ``{3::a|b}`` and ``__name__``.

It is that of https://github.com/adieyal/sd-dynamic-prompts. A backslash before ``{``, ``}``, ``|`` or ``_`` makes it a
sign of the text. The same seed chooses the same text in each version of Python: only `Random.random` is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice, permutations, product
from pathlib import Path
from random import Random

from composer.errors import ComposerError, suggest
from composer.system.paths import expand_user
from composer.system.text_files import read_text, split_lines

#: Most combinations of a prompt, levels of brackets and wildcards within each other, and characters of a result.
MAX_COMBINATIONS, MAX_DEPTH, MAX_CHARACTERS = 10_000, 20, 20_000
_SIGNS = re.compile(r"\\[{}|_]|[{}|]|__[A-Za-z0-9*](?:[\w\-/*. ]*?[A-Za-z0-9*])?__|[^\\{}|_]+|.", re.DOTALL)
_COUNT = re.compile(r"\s*(\d*)(-?)(\d*)\$\$(?:((?:(?!\$\$|[{}|]).)*)\$\$)?", re.DOTALL)
_WEIGHT = re.compile(r"\s*(\d+\.?\d*|\.\d+)::")
#: Between several options that are chosen at once.
_SEPARATOR = ", "


@dataclass(frozen=True)
class Wildcard:
    """A name whose file has the options, one a line.

    Attributes:
        name: Path of the file below the directory of wildcards, without ``.txt``; ``*`` stands for any characters.
    """

    name: str


@dataclass(frozen=True)
class Choice:
    """Options of which some are chosen.

    Attributes:
        options: The options.
        weights: Weight of each.
        least: Smallest number that is chosen.
        most: Largest number.
        separator: Text between them.
    """

    options: tuple[Template, ...]
    weights: tuple[float, ...]
    least: int = 1
    most: int = 1
    separator: str = _SEPARATOR


#: Text, choices and wildcards in their order.
Template = tuple[str | Choice | Wildcard, ...]


@dataclass(frozen=True)
class DynamicPrompts:
    """Reads prompts with choices.

    Attributes:
        folder: Directory of the files of wildcards; ``None`` for none.
        key: Config key of the prompts, for messages.
    """

    folder: str | None = None
    key: str = "prompt"

    def choose(self, prompt: str, seed: int | str) -> str:
        """Choose a text.

        Args:
            prompt: A prompt with choices.
            seed: Seed of the choices.

        Returns:
            The text.

        Raises:
            ComposerError: The syntax is wrong, or a wildcard has no file.
        """
        text = _Chooser(self, Random(seed)).choose(self.parse(prompt), ())
        return self._limited(text)

    def combinations(self, prompt: str) -> list[str]:
        """List all texts, each once.

        Args:
            prompt: A prompt with choices.

        Returns:
            The texts; options that are typed first come first.

        Raises:
            ComposerError: There are more than `MAX_COMBINATIONS`, the syntax is wrong, or a wildcard has no file.
        """
        texts = list(islice(self._all(self.parse(prompt), ()), MAX_COMBINATIONS + 1))
        if len(texts) > MAX_COMBINATIONS:
            raise ComposerError(self.key, prompt, f"has more than {MAX_COMBINATIONS:,} combinations: leave some out")
        return list(dict.fromkeys(texts))

    def parse(self, prompt: str) -> Template:
        """Read the syntax of a prompt.

        Args:
            prompt: A prompt with choices.

        Returns:
            Its parts.

        Raises:
            ComposerError: Brackets do not match, or are too deep.
        """
        return _Parser(self.key, prompt).parse()

    def lines(self, name: str, within: Sequence[str]) -> list[Template]:
        """Read the options of a wildcard.

        Args:
            name: Its name.
            within: Names of the wildcards that it is in.

        Returns:
            The options; empty lines and those that begin with ``#`` are none.

        Raises:
            ComposerError: There is no such file, or it names itself.
        """
        if name in within or len(within) >= MAX_DEPTH:
            raise ComposerError(self.key, f"__{name}__", f"its file leads to itself: {' → '.join([*within, name])}")
        if self.folder is None:
            reason = "is a wildcard: type wildcards=FOLDER, the directory of its file"
            raise ComposerError(self.key, f"__{name}__", reason)
        files = [path for known, path in self._files.items() if fnmatchcase(known, name)]
        if not files:
            reason = f"there is no {name}.txt.{suggest(name, list(self._files))}"
            raise ComposerError("wildcards", self.folder, reason, list(self._files)[:8])
        texts = [line.strip() for path in files for line in split_lines(_read(path))]
        options = [self.parse(text) for text in texts if text and not text.startswith("#")]
        if not options:
            raise ComposerError("wildcards", self.folder, f"{name}.txt has no lines to choose from")
        return options

    @cached_property
    def _files(self) -> dict[str, Path]:
        folder = expand_user(self.folder or "")
        if not folder.is_dir():
            raise ComposerError("wildcards", self.folder, "there is no such directory")
        root = folder.resolve()
        paths = [path for path in sorted(folder.rglob("*.txt")) if path.resolve().is_relative_to(root)]
        return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths if path.is_file()}

    def _limited(self, text: str) -> str:
        if len(text) > MAX_CHARACTERS:
            raise ComposerError(self.key, text[:60], f"becomes longer than {MAX_CHARACTERS:,} characters")
        return text

    def _all(self, template: Template, within: tuple[str, ...]) -> Iterator[str]:
        """All texts of a template; at most one more of each part than are allowed in all."""
        parts = [list(islice(self._variants(part, within), MAX_COMBINATIONS + 1)) for part in template]
        return (self._limited("".join(texts)) for texts in product(*parts))

    def _variants(self, part: str | Choice | Wildcard, within: tuple[str, ...]) -> Iterator[str]:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Wildcard):
            for option in self.lines(part.name, within):
                yield from self._all(option, (*within, part.name))
        else:
            yield from self._picked(part, within)

    def _picked(self, part: Choice, within: tuple[str, ...]) -> Iterator[str]:
        options, inside = self.options_of(part, within)
        for count in range(min(part.least, len(options)), min(part.most, len(options)) + 1):
            for picked in permutations(options, count):
                for texts in product(*(self._all(option, inside) for option in picked)):
                    yield part.separator.join(text.strip() for text in texts)

    def options_of(self, part: Choice, within: tuple[str, ...]) -> tuple[Sequence[Template], tuple[str, ...]]:
        """Options of a choice: those of its wildcard, if that is its only one.

        Args:
            part: The choice.
            within: Names of the wildcards that it is in.

        Returns:
            The options, and the names of the wildcards that these are in.
        """
        only = part.options[0] if len(part.options) == 1 else ()
        wildcards = [piece for piece in only if not (isinstance(piece, str) and not piece.strip())]
        if len(wildcards) == 1 and isinstance(wildcards[0], Wildcard):
            name = wildcards[0].name
            return self.lines(name, within), (*within, name)
        return part.options, within


@dataclass
class _Parser:
    """Reads one prompt, from its begin to its end.

    Attributes:
        key: Config key of the prompt, for messages.
        prompt: The prompt.
    """

    key: str
    prompt: str
    at: int = 0
    depth: int = 0

    def parse(self) -> Template:
        template = self._template("")
        if self.at < len(self.prompt):
            raise self._error("has a } that nothing opens: write \\} for the sign itself")
        return template

    def _template(self, ends: str) -> Template:
        parts: list[str | Choice | Wildcard] = []
        while self.at < len(self.prompt):
            match = _SIGNS.match(self.prompt, self.at)
            assert match  # the pattern takes any character
            sign = match[0]
            if sign == "}" or (sign == "|" and ends):
                break
            self.at = match.end()
            if sign == "{":
                parts.append(self._choice())
            elif sign.startswith("__") and len(sign) > 4:
                parts.append(Wildcard(sign[2:-2]))
            else:
                text = sign[1:] if sign[0] == "\\" and len(sign) == 2 else sign
                parts.append(text)
        return tuple(parts)

    def _choice(self) -> Choice:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"has more than {MAX_DEPTH} brackets within each other")
        least, most, separator = self._count()
        options, weights = [], []
        while True:
            weight = _WEIGHT.match(self.prompt, self.at)
            if weight:
                self.at = weight.end()
            weights.append(float(weight[1]) if weight else 1.0)
            options.append(self._template("|}"))
            sign = self.prompt[self.at : self.at + 1]
            self.at += 1
            if sign == "}":
                break
            if not sign:
                raise self._error("has a { that nothing closes: write \\{ for the sign itself")
        self.depth -= 1
        if not any(weights):
            raise self._error("has a choice whose weights are all 0")
        return Choice(tuple(options), tuple(weights), least, len(options) if most is None else most, separator)

    def _count(self) -> tuple[int, int | None, str]:
        """How many options are chosen, and the text between them; ``None`` for all."""
        match = _COUNT.match(self.prompt, self.at)
        if match is None or not (match[1] or match[3]) or (match[3] and not match[2]):
            return 1, 1, _SEPARATOR
        self.at = match.end()
        least = int(match[1] or 1)
        most = int(match[3]) if match[3] else MAX_COMBINATIONS if match[2] else least
        if most < least:
            raise self._error(f"chooses at least {least} and at most {most} options")
        return least, most, _SEPARATOR if match[4] is None else match[4]

    def _error(self, reason: str) -> ComposerError:
        return ComposerError(self.key, self.prompt, f"{reason}, or use prompt_syntax=text")


@dataclass
class _Chooser:
    """Chooses options at random.

    Attributes:
        prompts: Reader of wildcards.
        random: Source of numbers in `[0, 1)`.
        characters: Length of all that was chosen.
    """

    prompts: DynamicPrompts
    random: Random
    characters: int = field(default=0)

    def choose(self, template: Template, within: tuple[str, ...]) -> str:
        return "".join(self._part(part, within) for part in template)

    def _part(self, part: str | Choice | Wildcard, within: tuple[str, ...]) -> str:
        if isinstance(part, str):
            self.characters += len(part)
            if self.characters > MAX_CHARACTERS:
                raise ComposerError(self.prompts.key, part[:60], f"becomes longer than {MAX_CHARACTERS:,} characters")
            return part
        if isinstance(part, Wildcard):
            options = self.prompts.lines(part.name, within)
            return self.choose(options[int(self.random.random() * len(options))], (*within, part.name))
        choices, inside = self.prompts.options_of(part, within)
        weights = list(part.weights) if choices is part.options else [1.0] * len(choices)
        least, most = min(part.least, len(choices)), min(part.most, len(choices))
        count, left, texts = least + int(self.random.random() * (most - least + 1)), list(range(len(choices))), []
        for _ in range(count):
            index = self._index([weights[i] for i in left])
            texts.append(self.choose(choices[left.pop(index)], inside).strip())
        return part.separator.join(texts)

    def _index(self, weights: Sequence[float]) -> int:
        """Index of a weight, with a probability in proportion to it; any if all are 0."""
        total = sum(weights)
        number = self.random.random() * (total or len(weights))
        for index, weight in enumerate(weights):
            number -= weight if total else 1
            if number < 0:
                return index
        return max(i for i, weight in enumerate(weights) if weight or not total)


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ComposerError("wildcards", path, f"can't be read: {why}") from None
