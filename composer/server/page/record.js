// One image with its record: what it was generated with, rerun, vary, sweep, and the difference from another record.

import { get, post, request, upload } from "./api.js";
import { element } from "./form.js";
import { metricsOf } from "./metrics.js";

const $ = (id) => document.getElementById(id);
const without = (words, key) => words.filter((word) => !new RegExp(`^\\+*${key.replaceAll(".", "\\.")}=`).test(word));
let page, shown = null, first = null; // first: the record that the next one is compared with

const recordOf = async (job) => (await fetch(job.record)).json();

// Facts of a record that people look at first.
function factsOf(record, number) {
  const image = record.images[number] ?? record.images[0], kilo = (size) => `${(size / 2 ** 20).toFixed(0)} MiB`;
  return {
    prompt: image.prompt, "negative prompt": image.negative_prompt, seed: image.seed, size: `${record.width} × ${record.height}`,
    steps: record.steps, guidance: record.guidance?.scale, scheduler: record.scheduler?.class, model: record.model?.source,
    dtype: record.dtype, device: record.device, seconds: record.seconds, memory: record.peak_memory && kilo(record.peak_memory),
  };
}

const row = (...cells) => element("tr", {}, ...cells.map((cell, i) => element(i ? "td" : "th", i ? {} : { scope: "row" }, String(cell))));

// Key with dots → value, of nested data.
function flat(value, above = "") {
  if (value === null || typeof value !== "object") return { [above]: value };
  return Object.assign({}, ...Object.entries(value).map(([key, inner]) => flat(inner, above ? `${above}.${key}` : key)));
}

export function difference(one, other) {
  const [left, right] = [flat(one), flat(other)];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].filter((key) => left[key] !== right[key]).map((key) => [key, left[key], right[key]]);
}

function showDifference(record) {
  const compared = first && first.job.id !== shown.job.id;
  $("difference").hidden = !compared;
  if (!compared) return;
  const rows = difference(first.record, record), shownAs = (value) => (value === undefined ? "—" : JSON.stringify(value));
  const head = element("tr", {}, ...["key", `job ${first.job.number}`, `job ${shown.job.number}`].map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map(([key, left, right]) => row(key, shownAs(left), shownAs(right)));
  $("difference").replaceChildren(element("p", {}, `${rows.length} keys differ from job ${first.job.number}`), element("table", {}, head, ...body));
}

export async function showRecord(job, number = 0) {
  shown = { job, number };
  $("record-title").textContent = `Image ${number} of job ${job.number}`;
  Object.assign($("record-image"), { src: job.images[number], alt: `Image ${number} of job ${job.number}: ${job.command}` });
  $("record-command").textContent = job.command;
  $("record-note").textContent = "";
  $("axis").hidden = true;
  $("record-sheet").hidden = !job.sweep;
  $("favourite").setAttribute("aria-pressed", String(Boolean(job.favourite)));
  $("compare").setAttribute("aria-pressed", String(first?.job.id === job.id));
  if (!$("record").open) $("record").showModal();
  const record = await recordOf(job);
  if (shown.job !== job) return;
  shown.record = record;
  const known = Object.entries(factsOf(record, number)).filter(([, value]) => value !== null && value !== undefined);
  const facts = [...metricsOf(job, number), ...known];
  $("record-facts").tBodies[0].replaceChildren(...facts.map(([key, value]) => row(key, value)));
  $("record-text").textContent = JSON.stringify(record, null, 1);
  showDifference(record);
}

async function submit(overrides, sweep = false) {
  const { jobs } = await post("/jobs", { overrides, sweep });
  page.look();
  return jobs;
}

// The same again, with the seed that was recorded; says whether the pixels are the same.
async function rerun() {
  const { job, record } = shown;
  const [again] = await submit([...without(job.overrides, "seed"), `seed=${record.images[0].seed}`]);
  $("record-note").textContent = `job ${again.number} generates it again`;
  const ended = await page.ended(again.id);
  if (shown?.job !== job) return;
  if (ended.state !== "done") return void ($("record-note").textContent = `job ${again.number} is ${ended.state}: ${ended.error?.message ?? ""}`);
  const same = JSON.stringify((await recordOf(ended)).pixels) === JSON.stringify(record.pixels);
  $("record-note").textContent = `job ${again.number} ${same ? "has the same pixels, bit for bit" : "differs: compare the records"}`;
}

async function vary() {
  const [varied] = await submit([...without(shown.job.overrides, "seed"), `seed=${Math.floor(Math.random() * 2 ** 32)}`]);
  $("record-note").textContent = `job ${varied.number} varies the seed`;
}

async function sweepThis(event) {
  event.preventDefault();
  const key = $("axis-key").value.trim();
  const jobs = await submit([...without(shown.job.overrides, key), `${key}=${$("axis-values").value}`], true);
  $("record").close();
  page.showSheet(jobs[0].sweep);
}

async function startFrom() {
  const blob = await (await fetch(shown.job.images[shown.number])).blob();
  page.startFrom(await upload(blob));
  $("record").close();
}

async function favour() {
  const { job, number } = shown;
  const favourite = $("favourite").getAttribute("aria-pressed") !== "true";
  const marked = await post(`/jobs/${job.id}/favourite`, { favourite });
  $("favourite").setAttribute("aria-pressed", String(favourite));
  shown.job = Object.assign(job, { favourite: marked.favourite });
  page.gallery.items.get(job.id)?.forEach((item) => item.classList.toggle("favourite", favourite));
  return number;
}

function compare() {
  const chosen = first?.job.id !== shown.job.id;
  first = chosen ? { job: shown.job, record: shown.record } : null;
  $("compare").setAttribute("aria-pressed", String(chosen));
  $("record-note").textContent = chosen ? "open another image: its record is compared with this one" : "";
  $("difference").hidden = true;
}

export function listen(given, keys) {
  page = given;
  $("axis-keys").replaceChildren(...keys.map((key) => element("option", { value: key })));
  $("again").addEventListener("click", () => page.fill(shown.job));
  $("record-sheet").addEventListener("click", () => ($("record").close(), page.showSheet(shown.job.sweep)));
  $("sweep-this").addEventListener("click", () => (($("axis").hidden = false), $("axis-values").focus()));
  $("axis").addEventListener("submit", page.tried(sweepThis));
  for (const [id, action] of Object.entries({ rerun, vary, favourite: favour, "use-image": startFrom, compare })) $(id).addEventListener("click", page.tried(action));
  $("close").addEventListener("click", () => $("record").close());
  $("record").addEventListener("close", () => (shown = null));
  $("record").addEventListener("keydown", page.tried(async (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.target.matches("input, pre")) return;
    const beside = page.gallery.beside(shown.job, shown.number, step);
    if (beside) await showRecord(...beside);
  }));
}
