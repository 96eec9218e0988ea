"""The sheet of a sweep: in a real browser, as files, and as an image."""

from __future__ import annotations

import base64
import csv
import hashlib
import html.parser
import io
import itertools
import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from tiers import every

from composer.errors import ComposerError
from composer.media.clip import Clip
from composer.media.sound import Sound
from composer.sweeps.ledger import DROPPED, STATES
from composer.sweeps.report import contact, page
from composer.sweeps.report.cells import Cell
from composer.sweeps.report.contact_layout import layout_sheet
from composer.sweeps.report.contact_text import text_width, truncate, wrap
from composer.sweeps.report.html_text import format_duration
from composer.sweeps.report.layout import arrange, captions, check_axes, choose_axes, distinct_values, resolve_axes
from composer.sweeps.report.sheet import write_sheet
from composer.sweeps.report.tables import guard
from composer.sweeps.report.thumbnails import thumbnail
from composer.sweeps.spec import SheetSpec

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser = pytest.mark.skipif(
    BROWSER is None, reason="needs chromium, chromium-browser or google-chrome: `apt-get install chromium`"
)

ESCAPE = "\x1b[2J"
HOSTILE = (
    "<script>document.body.dataset.owned = 1</script>",
    "<script>alert(1)</script>",
    '"><img src=x onerror=document.body.dataset.owned=1>',
    "' onmouseover=alert(1) x='",
    "]]>",
    "--><!--",
    "</title></style></script>",
    "${oc.env:HOME}",
    f"a{ESCAPE}b\x00\x9bc",
    "&lt;b&gt; &amp; &#x26;",
    "🦊 a fox 日本語 שלום",
    "two\nlines\tand a tab",
    "a large red sphere, " * 25,
    "half \ud83d a pair",
)


def job(number: int | None, values: dict[str, str], folder: Path | None = None, **rest) -> Cell:
    """A finished job; its image is written if a folder is given."""
    cell = Cell(
        number=number, folder=f"{number or 0:04d}", **{"state": "done", "values": values, "images": ("000.png",)} | rest
    )
    if folder is not None:
        for name in cell.images:
            (folder / cell.folder).mkdir(exist_ok=True)
            Image.new("RGB", (48, 32), (number * 37 % 256, number * 91 % 256, 120)).save(folder / cell.folder / name)
    return cell


def product(folder: Path | None = None, **axes: list) -> list[Cell]:
    """A job for each combination."""
    cells = []
    for number, values in enumerate(itertools.product(*axes.values())):
        named = dict(zip(axes, map(str, values)))
        steps = int(named.get("steps", 10))
        rest = {"seeds": (number,), "seconds": steps / 7 + number % 3, "peak_memory": 600 << 20, "steps": steps}
        cells.append(job(number, named, folder, scheduler=named.get("scheduler", "euler"), **rest))
    return cells


def four_by_three_by_two(folder: Path | None = None) -> list[Cell]:
    return product(folder, scheduler=["euler", "ddim", "heun", "dpmpp_2m"], steps=[5, 10, 20], seed=[0, 1])


class Page(html.parser.HTMLParser):
    """What a page holds: elements, and the text inside some of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "table":
            self.inside = dict(attributes).get("id", "")
        elif self.inside == "jobs" and tag == "tr":
            self.rows.append([])
        elif self.inside == "jobs" and tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag == "table":
            self.inside = ""

    def handle_data(self, data):
        self.text.append(data)
        if self.inside == "jobs" and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def column(self, name: str) -> list[str]:
        at = [head.strip() for head in self.rows[0]].index(name)
        return [row[at].strip("\n") for row in self.rows[1:]]


def read(folder: Path) -> Page:
    return Page((folder / "index.html").read_text())


def call(path: Path, tmp_path: Path, *options: str) -> str:
    words = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=3000",
    ]
    return subprocess.run(
        [BROWSER, *words, *options, path.as_uri()], capture_output=True, timeout=120, check=True
    ).stdout.decode()


def dump(path: Path, tmp_path: Path) -> str:
    """The page as the browser has it after a while, in a window high enough for lazy images."""
    return call(path, tmp_path, "--window-size=1280,20000", "--dump-dom")


def with_script(folder: Path, script: str, allowed: bool = True) -> Path:
    """A copy of the page whose last line is a script; the policy is the page's own, and allows this script by its
    hash.
    """
    text = (folder / "index.html").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    if allowed:
        text, count = re.subn(r"script-src 'sha256-", f"script-src 'sha256-{digest}' 'sha256-", text, count=1)
        assert count == 1
    path = folder / "copy.html"
    path.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
    return path


def typed(text: str) -> str:
    """The part of a text that the page may contain."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "", text)


# In the browser


@browser
def test_images_load_from_files(tmp_path):
    cells = [replace(cell, folder=f"100% #{cell.number}?") for cell in four_by_three_by_two(tmp_path)]
    for cell in cells:
        (tmp_path / f"{cell.number:04d}").rename(tmp_path / cell.folder)
    write_sheet(tmp_path, "24", cells)
    widths = "document.body.dataset.widths = [...document.images].map(i => i.naturalWidth)"
    script = f'addEventListener("load", () => {{ {widths} }});'
    result = Page(dump(with_script(tmp_path, script), tmp_path))
    assert result.all("body")[0]["data-widths"] == ",".join(["48"] * 24)


@browser
def test_clips_and_sounds_can_be_played(tmp_path):
    """The policy of the page allows it, and the browser finds size and duration."""
    samples = np.sin(np.arange(8000) / 9, dtype=np.float32).reshape(1, -1)
    frames = [Image.new("RGB", (48, 32), (i * 20, 0, 0)) for i in range(8)]
    files = {"000.mp4": Clip(frames, 8).encode("mp4"), "000.wav": Sound(samples, 8000).encode("wav")}
    cells = [job(i, {"seed": str(i)}, images=(name,), posters=("000.poster.jpg",)) for i, name in enumerate(files)]
    for cell in cells:
        (tmp_path / cell.folder).mkdir()
        Image.new("RGB", (48, 32)).save(tmp_path / cell.folder / cell.posters[0])
        (tmp_path / cell.folder / cell.images[0]).write_bytes(files[cell.images[0]])
    write_sheet(tmp_path, "media", cells)
    script = (
        'for (const item of document.querySelectorAll("video, audio")) { item.preload = "metadata";'
        "item.addEventListener('loadedmetadata', () => { item.dataset.read ="
        ' `${item.videoWidth ?? "-"} ${item.videoHeight ?? "-"} ${Math.round(item.duration)}` }); item.load(); }'
    )
    played = Page(dump(with_script(tmp_path, script), tmp_path))
    assert [played.all(tag)[0].get("data-read") for tag in ("video", "audio")] == ["48 32 1", "- - 1"]


@browser
def test_a_click_sorts(tmp_path):
    cells = four_by_three_by_two(tmp_path)
    cells[3] = replace(cells[3], state="waiting", seconds=None, images=())
    write_sheet(tmp_path, "24", cells)
    assert read(tmp_path).column("job") == [str(n) for n in range(24)]
    script = """
      const reported = [];
      for (const name of ["job", "scheduler", "steps", "steps", "seconds", "seconds"]) {
        const head = [...document.querySelectorAll("#jobs th")].find(head => head.textContent === name);
        head.querySelector("button").click();
        const rows = [...document.querySelectorAll("#jobs tbody tr")];
        const sorted = [...document.querySelectorAll("#jobs th:not([aria-sort=none])")].map(head => head.textContent);
        const texts = rows.map(row => row.cells[head.cellIndex].textContent.trim());
        reported.push([name, head.ariaSort, sorted, texts, rows.map(row => row.id)]);
      }
      document.body.dataset.reported = JSON.stringify(reported);
    """
    result = Page(dump(with_script(tmp_path, script), tmp_path))
    notes = json.loads(result.all("body")[0]["data-reported"])
    # jobs are in order at first: a click turns them round
    assert [order for _, order, *_ in notes] == [
        "descending",
        "ascending",
        "ascending",
        "descending",
        "ascending",
        "descending",
    ]
    for name, order, heads, column, jobs in notes:
        full = [value if name == "scheduler" else float(value) for value in column if value]
        assert full == sorted(full, reverse=order == "descending") and heads == [name]
        assert sorted(jobs) == sorted(f"job{n}" for n in range(24))
        if name == "seconds":
            assert column[-1] == "" and jobs[-1] == "job3"  # what is not known is last, either way


@browser
@pytest.mark.parametrize(
    "spec",
    every(3, [SheetSpec(x="prompt", y="scheduler"), SheetSpec(), SheetSpec(page="prompt", x="scheduler")]),
    ids=str,
)
def test_what_was_typed_is_shown_and_never_run(tmp_path, spec):
    cells = [
        job(i, {"prompt": text, "scheduler": f"{text}|"}, tmp_path, error=text, scheduler=text)
        for i, text in enumerate(HOSTILE)
    ]
    cells += [
        replace(cells[i], number=100 + i, state="failed", images=(), values={"prompt": text, "scheduler": "x"})
        for i, text in enumerate(HOSTILE)
    ]
    write_sheet(tmp_path, "".join(HOSTILE), cells, spec)
    result = Page(dump(tmp_path / "index.html", tmp_path))
    assert result.column("prompt") == [typed(text) for text in HOSTILE] * 2
    assert result.column("error") == [typed(text) for text in HOSTILE] * 2
    assert [a for _, a in result.elements if any(name.startswith("on") for name in a)] == []
    assert len(result.all("script")) == len(result.all("style")) == len(result.all("title")) == 1
    assert {image["src"] for image in result.all("img")} == {f"{i:04d}/000.png" for i in range(len(HOSTILE))}
    assert "data-owned" not in result.all("body")[0]
    assert result.column("job")  # the page's own script is not cut short either
    assert "script" in result.all("html")[0]["class"]


@browser
def test_a_script_that_is_not_ours_does_not_run(tmp_path):
    write_sheet(tmp_path, "1", [job(0, {}, tmp_path)])
    script = "document.body.dataset.owned = 1;"
    assert "data-owned" in Page(dump(with_script(tmp_path, script), tmp_path)).all("body")[0]
    assert "data-owned" not in Page(dump(with_script(tmp_path, script, allowed=False), tmp_path)).all("body")[0]


@browser
def test_without_script(tmp_path):
    cells = four_by_three_by_two(tmp_path)
    write_sheet(tmp_path, "24", cells)
    text, count = re.subn(r"script-src 'sha256-[^']*'", "script-src 'none'", (tmp_path / "index.html").read_text())
    assert count == 1
    path, shot = tmp_path / "copy.html", tmp_path / "shot.png"
    path.write_text(text)
    assert "class" not in Page(dump(path, tmp_path)).all("html")[0]  # which the page's script would have set
    call(path, tmp_path, f"--screenshot={shot}", "--window-size=1280,3000")
    colours = {colour for _, colour in Image.open(shot).convert("RGB").getcolors(1 << 24)}
    assert colours >= {(n * 37 % 256, n * 91 % 256, 120) for n in range(24)}


@browser
@pytest.mark.slow  # for the browser
def test_two_thousand(tmp_path):
    cells = product(
        tmp_path, scheduler=["euler", "ddim", "heun", "lcm"], steps=[5, 10, 20, 40, 80], seed=list(range(100))
    )
    write_sheet(tmp_path, "2,000", cells)
    result = Page(dump(tmp_path / "index.html", tmp_path))
    assert len(result.all("img")) == len(result.column("job")) == 2000
    assert "script" in result.all("html")[0]["class"]


# As files


def test_one_job(tmp_path):
    cell = job(0, {"steps": "10"}, tmp_path, seeds=(7,), seconds=1.25, peak_memory=3 << 30, steps=10, scheduler="euler")
    write_sheet(tmp_path, "one", [cell])
    sheet = read(tmp_path)
    assert [image["src"] for image in sheet.all("img")] == ["0000/000.png"]
    assert [image["loading"] for image in sheet.all("img")] == ["lazy"]
    assert "steps = 10" in sheet.all("img")[0]["alt"]
    title = sheet.all("figure")[0]["title"]
    for word in ("job 0", "seed 7", "1.25 s", "3.00 GiB", "steps = 10"):
        assert word in title
    assert "refresh" not in [meta.get("http-equiv") for meta in sheet.all("meta")]
    assert not sheet.all("path")  # no plot of one number of steps
    assert Image.open(tmp_path / "contact.png").format == "PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000", "contact.png", "index.html", "results.csv"]


def test_none(tmp_path):
    write_sheet(tmp_path, "none", [])
    assert read(tmp_path).column("job") == []
    assert (tmp_path / "contact.png").exists()


def test_grids(tmp_path):
    write_sheet(tmp_path, "24", four_by_three_by_two(tmp_path))
    sheet = read(tmp_path)
    assert len([table for table in sheet.all("table") if table.get("class") == "grid"]) == 2
    assert [head["title"] for head in sheet.all("th") if head.get("scope") == "col" and "title" in head] == [
        "euler",
        "ddim",
        "heun",
        "dpmpp_2m",
    ] * 2
    assert [head["title"] for head in sheet.all("th") if head.get("scope") == "row"] == ["5", "10", "20"] * 2
    assert (
        len([path for path in sheet.all("path") if path["class"] == "curve"]) == 2 * 4
    )  # a line and its sample for each scheduler
    shown = [re.search(r"seed = (.)", figure["title"])[1] for figure in sheet.all("figure")]
    assert shown == ["0"] * 12 + ["1"] * 12


def test_nothing_is_fetched_from_elsewhere(tmp_path):
    write_sheet(tmp_path, "24", four_by_three_by_two(tmp_path), finished=False)
    text = (tmp_path / "index.html").read_text()
    assert "//" not in re.sub(r"//.*", "", page.SCRIPT) and not re.search(
        r"(https?:|url\(|@import|<link|<base|<iframe)", text
    )
    sheet = read(tmp_path)
    linked = {attributes[name] for _, attributes in sheet.elements for name in ("href", "src") if name in attributes}
    assert all(re.match(r"(#\w+|\d{4}/(000\.png)?|results\.csv)$", link) for link in linked)
    policy = next(meta["content"] for meta in sheet.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    script = re.search(r"<script>(.*)</script>", text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    sources = "default-src 'none'; img-src 'self' data: file:; media-src 'self' file:; style-src 'unsafe-inline'"
    assert policy == f"{sources}; script-src 'sha256-{digest}'"


def test_addresses_are_encoded(tmp_path):
    names = ('a"b.png', "100%.png", "x#y?.png", "javascript:alert(1)", "ü 日.png", "half\udcff.png")
    write_sheet(tmp_path, "names", [job(0, {}, images=names)], finished=False)
    sources = [image["src"] for image in read(tmp_path).all("img")]
    assert [unquote(source, errors="surrogateescape") for source in sources] == [f"0000/{name}" for name in names]
    assert all(re.fullmatch(r"[\w./%~-]+", source, re.A) for source in sources)


#: Suffix of a file → element of the page that plays it, and what is shown before.
PLAYED = {"mp4": "video", "webp": "img", "gif": "img", "frames": None, "wav": "audio", "flac": "audio"}


@pytest.mark.parametrize("suffix", PLAYED)
def test_clips_and_sounds_play_on_the_page(tmp_path, suffix):
    names, posters = (f"000.{suffix}", f'a"b.{suffix}'), ("000.poster.jpg", 'a"b.poster.jpg')
    cell = job(0, {"steps": "3"}, images=names, posters=posters, hashes=("0", "1"))
    (tmp_path / cell.folder).mkdir()
    Image.new("RGB", (60, 20), (200, 30, 30)).save(tmp_path / cell.folder / posters[0])
    write_sheet(tmp_path, "media", [cell])
    sheet, element = read(tmp_path), PLAYED[suffix]
    files, shown = ([unquote(f"0000/{name}") for name in group] for group in (names, posters))
    if element is not None:
        assert [unquote(entry["src"]) for entry in sheet.all(element)] == files
    if element == "video":
        assert [unquote(entry["poster"]) for entry in sheet.all("video")] == shown
    elif element != "img":
        assert [unquote(entry["src"]) for entry in sheet.all("img")] == shown
    for entry in (*sheet.all("video"), *sheet.all("audio")):  # a page of 1,000 jobs loads none of them by itself
        assert entry["preload"] == "none" and "controls" in entry
    assert sheet.all("body")[0]["style"].endswith("--ratio: 60 / 20")
    red = np.asarray(Image.open(tmp_path / "contact.png")).reshape(-1, 3).astype(int)
    assert (abs(red - (200, 30, 30)).max(1) < 8).sum() >= 60 * 20 / 2  # the poster, scaled and by JPEG
    row = next(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert row["path"] == f'0000/000.{suffix} 0000/a"b.{suffix}'


def test_while_it_runs(tmp_path):
    cells = four_by_three_by_two()  # no image is there yet
    cells[5] = replace(cells[5], state="failed", images=(), error="out of memory: 512 MiB more are needed")
    cells[6] = replace(cells[6], state="running", images=(), seconds=None)
    cells[7:] = [replace(cell, state="waiting", images=(), seconds=None) for cell in cells[7:]]
    write_sheet(tmp_path, "24", cells, finished=False)
    sheet, text = read(tmp_path), (tmp_path / "index.html").read_text()
    assert [meta["content"] for meta in sheet.all("meta") if meta.get("http-equiv") == "refresh"] == ["5"]
    assert not (tmp_path / "contact.png").exists() and "contact.png" not in text
    states = [figure["class"] for figure in sheet.all("figure")]
    assert [states.count(state) for state in STATES] == [5, 1, 0, 1, 17, 0]
    assert (
        text.count("out of memory: 512 MiB more are needed") == 3
    )  # where its image would be, on hovering, in the table
    message = " ".join("".join(sheet.text).split())
    assert "24 jobs5 done1 failed1 running17 waiting" in message
    assert f"{format_duration(sum(cell.seconds or 0 for cell in cells))} in total" in message


def test_a_finished_sheet_with_a_failure_and_a_damaged_image(tmp_path):
    cells = four_by_three_by_two(tmp_path)
    cells[0] = replace(cells[0], state="failed", images=(), error="the hub can't be reached")
    (tmp_path / "0001" / "000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "0002" / "000.png").unlink()
    write_sheet(tmp_path, "24", cells)
    assert "the hub can't be reached" in "".join(read(tmp_path).text)
    assert Image.open(tmp_path / "contact.png").size[0] > 4 * 128


def test_several_images_and_several_jobs_in_a_cell(tmp_path):
    cells = product(tmp_path, scheduler=["euler", "ddim"], steps=[5, 10], seed=[0, 1], eta=[0, 1])
    cells = [replace(cell, images=("000.png", "001.png")) for cell in cells]
    write_sheet(tmp_path, "16", cells, SheetSpec(page="scheduler"))
    sheet = read(tmp_path)
    assert len(sheet.all("img")) == 32
    assert len([cell for cell in sheet.all("div") if cell.get("class") == "slot"]) == 8
    assert "".join(sheet.text).count("eta 1") == 8  # values that no heading shows are printed below the image


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-sum(A1)", "'-sum(A1)"),
        ("@sum(A1)", "'@sum(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\n=1"),
        ("  =1", "'  =1"),
        ("\x1b=1", "'=1"),
        ("-1.5e-3", "-1.5e-3"),
        ("+7", "+7"),
        ("-inf", "'-inf"),
        ("-1-2", "'-1-2"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_spreadsheet_computes_nothing(text, safe):
    assert guard(text) == safe


def test_results(tmp_path):
    cells = four_by_three_by_two()
    cells[1] = replace(cells[1], state="failed", images=(), error='=HYPERLINK("http://x")', seconds=None, seeds=(4, 5))
    cells[2] = replace(cells[2], values={**cells[2].values, "seed": "5"})
    cells[4] = replace(cells[4], prompt='a "quoted", =text\nin two lines 🦊')
    write_sheet(tmp_path, "24", cells, finished=False)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_bytes().decode(), newline="")))
    first, last = (
        ["number", "state", "path", "prompt"],
        ["seed", "steps", "scheduler_class", "seconds", "peak_memory", "composer", "reason"],
    )
    assert list(rows[0]) == [*first, "scheduler", *last] and len(rows) == 24
    assert rows[1]["reason"] == '\'=HYPERLINK("http://x")' and rows[1]["seconds"] == "" and rows[1]["seed"] == "4 5"
    assert rows[2]["seed"] == "2" and cells[2].values["seed"] != "2", "the generated value, if it is known"
    assert rows[4]["prompt"] == 'a "quoted", =text\nin two lines 🦊'
    assert [float(row["seconds"]) for row in rows[3:]] == [cell.seconds for cell in cells[3:]]
    assert (
        rows[3]["path"] == "0003/000.png"
        and rows[3]["steps"] == "10"
        and rows[3]["scheduler"] == rows[3]["scheduler_class"]
    )


def test_results_of_jobs_without_images_hold_the_requested_values(tmp_path):
    values = {"prompt": "a cat", "seed": "7", "steps": "5", "state": "x", "image": "a.png"}
    cells = [
        job(0, values, state="invalid", images=(), error="no such file"),
        job(None, {"eta": "1"}, state=DROPPED, images=()),
    ]
    write_sheet(tmp_path, "two", cells, finished=False)
    first, second = csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text()))
    assert (first["prompt"], first["seed"], first["steps"], first["job.state"], first["image"]) == (
        "a cat",
        "7",
        "5",
        "x",
        "a.png",
    )
    assert (first["state"], first["reason"], first["path"]) == ("invalid", "no such file", "")
    assert (second["number"], second["state"], second["eta"]) == ("", "no longer asked for", "1")


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (0, "0.00 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (99.96, "1 min 40 s"),
        (3599.6, "1 h 00 min"),
        (90_061, "25 h 01 min"),
    ],
)
def test_durations(seconds, message):
    assert format_duration(seconds) == message


# Axes


def test_an_axis_that_is_not_swept_is_refused(tmp_path):
    with pytest.raises(
        ComposerError, match=r"sheet.x=step: is no swept key. Did you mean steps\? \(allowed: scheduler, steps\)"
    ):
        check_axes(SheetSpec(x="step"), ["scheduler", "steps"])
    with pytest.raises(ComposerError, match=r"sheet.page=seed: is no swept key: nothing is swept"):
        check_axes(SheetSpec(page="seed"), [])
    with pytest.raises(ComposerError, match=r"sheet.y=steps: is sheet.x already \(allowed: scheduler\)"):
        check_axes(SheetSpec(x="steps", y="steps"), ["scheduler", "steps"])
    check_axes(SheetSpec(x="steps", y="scheduler"), ["scheduler", "steps"])
    with pytest.raises(ComposerError, match=r"sheet.x=seed"):
        write_sheet(tmp_path, "refused", product(steps=[1, 2]), SheetSpec(x="seed"))
    assert not list(tmp_path.iterdir())


PROMPTS = ["a red cone", "a blue cube", "a green sphere"]


@pytest.mark.parametrize(
    ("axes", "spec", "chosen"),
    [
        ({}, (), (None, None, None)),
        ({"steps": 1}, (), (None, None, None)),
        ({"steps": 3}, (), ("steps", None, None)),
        ({"prompt": 3}, (), ("prompt", None, None)),
        ({"steps": 3, "scheduler": 4}, (), ("scheduler", "steps", None)),
        ({"scheduler": 4, "steps": 3, "seed": 2}, (), ("scheduler", "steps", "seed")),
        ({"scheduler": 4, "seed": 100}, (), ("scheduler", "seed", None)),
        ({"scheduler": 5, "steps": 4, "seed": 100}, (), ("scheduler", "seed", "steps")),
        ({"a": 40, "b": 30}, (), ("b", "a", None)),
        ({"prompt": 3, "seed": 4}, (), ("seed", "prompt", None)),
        ({"prompt": 3, "scheduler": 4, "steps": 3}, (), ("scheduler", "steps", "prompt")),
        ({"prompt": 50, "scheduler": 4, "steps": 3}, (), ("scheduler", "prompt", "steps")),
        ({"a": 4, "b": 3, "c": 2, "d": 2}, (), ("a", "b", "c")),
        ({"a": 4, "b": 30, "c": 20}, (), ("a", "b", None)),
        ({"scheduler": 4, "steps": 3, "seed": 2}, ("seed",), ("seed", "scheduler", "steps")),
        ({"scheduler": 4, "steps": 3, "seed": 2}, (None, None, "scheduler"), ("steps", "seed", "scheduler")),
        ({"scheduler": 4, "steps": 1}, (None, "steps"), ("scheduler", "steps", None)),
        ({"scheduler": 4}, (None, "scheduler"), (None, "scheduler", None)),
    ],
)
def test_axes_that_are_left_open(axes, spec, chosen):
    values = {key: [str(i) for i in range(count)] for key, count in axes.items()}
    spec = SheetSpec(**dict(zip(("x", "y", "page"), spec)))
    result = choose_axes(values, spec)
    assert (result.x, result.y, result.page) == chosen


def test_long_values_are_prompts_whatever_the_key():
    values = {"image": [f"/a/rather/long/path/to/an/image/of/{i}.png" for i in range(4)], "steps": ["10", "20"]}
    assert choose_axes(values, SheetSpec()) == SheetSpec(x="steps", y="image")


def test_jobs_that_lack_a_value(tmp_path):
    cells = [job(0, {"a": "1", "b": "1"}), job(1, {"a": "2"}), job(2, {"b": "2"})]
    write_sheet(tmp_path, "ragged", cells, finished=False)
    assert read(tmp_path).column("b") == ["1", "", "2"]


# Lists of jobs


def listed(*columns: str, rows: int = 24, folder: Path | None = None) -> list[Cell]:
    """A list with these columns, of which a prompt is another in each row, and of the rest there are few."""
    texts = {
        "prompt": lambda n: f"a body, number {n}",
        "seed": lambda n: str(n % 5),
        "scheduler": lambda n: "abc"[n * n % 7 % 3],
    }
    return [job(n, {key: texts[key](n) for key in columns}, folder) for n in range(rows)]


def few(**axes: list) -> list[Cell]:
    """Only some of all combinations."""
    return [cell for cell in product(**axes) if cell.number * 7 % 5 == 0]


@pytest.mark.parametrize(
    ("cells", "axes"),
    [
        (listed("prompt"), (None, None, None)),
        (listed("prompt", "seed"), (None, None, None)),
        (listed("seed", "scheduler", "prompt"), (None, None, None)),
        (few(a=range(5), b=range(6), c=range(4)), (None, None, None)),
        ([job(n, {"seed": str(n), "steps": str(n + 1)}) for n in range(6)], (None, None, None)),
        (listed("seed"), ("seed", None, None)),
        (product(scheduler=["a", "b"], steps=[1, 2, 3]), ("steps", "scheduler", None)),
        (product(scheduler=["a", "b"], steps=[1, 2, 3])[:5], ("steps", "scheduler", None)),
        (
            [replace(item, values={"sampler": s, **item.values}) for s in "ab" for item in listed("prompt", "seed")],
            ("sampler", "prompt", None),
        ),
    ],
    ids=range(9),
)
def test_a_list_of_jobs_is_a_gallery_and_no_sparse_grid(cells, axes):
    result = resolve_axes(cells, SheetSpec())
    assert (result.x, result.y, result.page) == axes
    blocks = arrange(cells, result)
    assert sum(len(shown) for block in blocks for _, row in block.rows for shown in row) == len(cells)


def test_requested_axes_win_over_a_gallery():
    assert resolve_axes(listed("prompt", "seed"), SheetSpec(y="seed")) == SheetSpec(x="prompt", y="seed")


def test_a_gallery_says_what_distinguishes_each_job(tmp_path):
    cells = [
        replace(cell, values={**cell.values, "steps": "4"})
        for cell in listed("prompt", "seed", rows=24, folder=tmp_path)
    ]
    cells.append(replace(cells[0], number=24, values={"seed": "77"}))
    assert captions(cells)[3] == "a body, number 3 · seed 3" and captions(cells)[24] == "seed 77"
    write_sheet(tmp_path, "a list", cells)
    sheet = read(tmp_path)
    assert len(sheet.all("figure")) == len(sheet.all("img")) == 25 and not [
        item for item in sheet.all("table") if item.get("class") == "grid"
    ]
    assert "".join(sheet.text).count("a body, number 7") == 2, "below the image, and in the table"


# Jobs of earlier requests


def test_jobs_of_earlier_requests_are_only_in_the_tables(tmp_path):
    cells = [*four_by_three_by_two(tmp_path), *(job(None, {"seed": str(n)}, state=DROPPED) for n in range(3))]
    write_sheet(tmp_path, "24", cells)
    sheet = read(tmp_path)
    assert len(sheet.all("img")) == 24 and sheet.column("state") == ["done"] * 24 + [DROPPED] * 3
    assert "24 jobs24 done3 no longer asked for" in " ".join("".join(sheet.text).split())


# What is there already


def test_pages_are_judged_by_what_they_hold(tmp_path):
    cells, names = four_by_three_by_two(tmp_path), ("index.html", "results.csv", "contact.png")
    write_sheet(tmp_path, "24", cells)
    before = {name: (tmp_path / name).read_bytes() for name in names}
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in names}
    write_sheet(tmp_path, "24", cells)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in names} == times, "nothing is written twice"
    (tmp_path / "index.html").write_text("of an earlier state")
    (tmp_path / "results.csv").unlink()
    (tmp_path / "contact.png").write_bytes(before["contact.png"][:-100])
    write_sheet(tmp_path, "24", cells)
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    for other in (
        cells[:23],
        [replace(cells[0], hashes=("another",)), *cells[1:]],
        [replace(cells[0], state="failed"), *cells[1:]],
    ):
        write_sheet(tmp_path, "24", cells)
        time = (tmp_path / "contact.png").stat().st_mtime_ns
        write_sheet(tmp_path, "24", other)
        assert (tmp_path / "contact.png").stat().st_mtime_ns != time


# contact.png


def test_the_contact_sheet_shows_every_image(tmp_path):
    cells = four_by_three_by_two(tmp_path)
    write_sheet(tmp_path, "24", cells)
    colours = {colour for _, colour in Image.open(tmp_path / "contact.png").getcolors(1 << 24)}
    assert colours >= {(n * 37 % 256, n * 91 % 256, 120) for n in range(24)}


def test_thumbnails_are_small_and_transparency_is_white(tmp_path):
    Image.new("RGBA", (1024, 512), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    small = thumbnail(tmp_path / "clear.png", (128, 128))
    assert small.size == (128, 64) and small.getpixel((3, 3)) == (255, 255, 255)
    assert thumbnail(tmp_path / "none.png", (128, 128)) is None


LARGE = [
    ({"seed": 2000, "steps": 5}, SheetSpec(x="seed")),
    ({"seed": 2000, "steps": 5}, SheetSpec(y="seed")),
    ({"seed": 100, "steps": 20, "eta": 5}, SheetSpec(page="seed", x="steps", y="eta")),
    ({"seed": 2000, "steps": 2, "eta": 2}, SheetSpec(x="steps", y="eta", page="steps")),
    ({"a": 2, "b": 2, "c": 50, "d": 50}, SheetSpec(x="a", y="b")),
]
#: Of which each takes seconds.
HUGE = [({"seed": 20_000}, SheetSpec()), ({"seed": 12_000}, SheetSpec(page="seed"))]
RATIOS = [(1, 1), (1024, 256), (256, 1024)]


@pytest.mark.parametrize(
    ("counts", "spec", "ratio"),
    [
        pytest.param(*item, ratio, marks=() if ratio == RATIOS[i % 3] and item[0] != HUGE[0][0] else pytest.mark.slow)
        for i, item in enumerate([*LARGE, *HUGE[::-1]])
        for ratio in RATIOS
    ],
    ids=str,
)
def test_the_contact_sheet_is_bounded(counts, spec, ratio):
    cells = product(**{key: list(range(count)) for key, count in counts.items()})
    axes = choose_axes(distinct_values(cells), spec)
    plan = next(
        plan
        for side in contact.THUMBNAIL_SIDES
        if max((plan := layout_sheet(arrange(cells, axes), axes, side, ratio)).size) <= contact.MAX_SIDE
    )
    generated = [cell.number for strip in plan.strips for band in strip for cells in band.columns for cell in cells]
    assert sorted(generated) == list(range(len(cells)))
    assert max(plan.box) >= 32


def test_texts_are_cut_to_their_width():
    text = "a large red sphere on the left and a small blue cube on the right"
    for most in (0, 10, 50, 100, 1000):
        assert text_width(truncate(text, most, 13), 13) <= most
        lines = wrap(text, most, 3)
        assert len(lines) <= 3 and all(text_width(line, 13) <= most for line in lines)
    assert truncate(text, 1000, 13) == text and wrap("", 100, 3) == []


@pytest.mark.slow  # for whoever wants to know
def test_time_of_writing(tmp_path, capsys):
    """Printed, not asserted: a clock is no test."""
    cells = product(
        tmp_path, scheduler=["euler", "ddim", "heun", "lcm"], steps=[5, 10, 20, 40, 80], seed=list(range(100))
    )
    long = [
        replace(cell, values={**cell.values, "prompt": f"{cell.number} {'a large red sphere, ' * 25}"})
        for cell in cells
    ]
    with capsys.disabled():
        for name, given, finished in (
            ("short", cells, False),
            ("500 characters", long, False),
            ("finished", cells, True),
        ):
            start = time.perf_counter()
            write_sheet(tmp_path, "2,000", given, finished=finished)
            print(f"\n2,000 jobs, {name}: {1000 * (time.perf_counter() - start):.0f} ms", end="")
        print()
    assert max(Image.open(tmp_path / "contact.png").size) <= contact.MAX_SIDE
