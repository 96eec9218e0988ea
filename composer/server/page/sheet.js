// The sheet of a sweep: a table for two swept keys, else the jobs with what differs, live.

import { get } from "./api.js";
import { element } from "./form.js";
import { metricsLine } from "./metrics.js";

const $ = (id) => document.getElementById(id);
const LOOK_MILLISECONDS = 1000, FINAL = ["done", "failed", "cancelled"];
let current = null;

const settings = (job) => Object.fromEntries(job.overrides.map((word) => word.split(/=([^]*)/)).map(([key, value]) => [key, value]));

function sweptKeys(jobs) {
  const all = jobs.map(settings), keys = [...new Set(all.flatMap(Object.keys))];
  return keys.filter((key) => new Set(all.map((one) => one[key])).size > 1);
}

function cell(job, open) {
  if (!job) return element("span", {}, "—");
  if (job.state !== "done") return element("span", { className: job.state === "failed" ? "reason" : "" }, job.error?.message ?? `${job.state} ${job.total ? `${job.step}/${job.total}` : ""}`);
  const button = element("button", { type: "button" }, element("img", { src: job.images[0], alt: `Image of job ${job.number}: ${job.command}`, loading: "lazy" }));
  button.addEventListener("click", () => open(job, 0));
  return element("div", {}, button, ...metricsLine(job, 0));
}

function table(jobs, [across, down], open) {
  const values = (key) => [...new Set(jobs.map((job) => settings(job)[key]))];
  const at = (x, y) => jobs.findLast((job) => settings(job)[across] === x && settings(job)[down] === y);
  const head = element("tr", {}, element("td", {}, `${down} ↓ ${across} →`), ...values(across).map((x) => element("th", { scope: "col" }, x)));
  const rows = values(down).map((y) => element("tr", {}, element("th", { scope: "row" }, y), ...values(across).map((x) => element("td", {}, cell(at(x, y), open)))));
  return element("table", {}, head, ...rows);
}

function list(jobs, keys, open) {
  const items = jobs.map((job) => element("li", {}, cell(job, open), element("span", { className: "note" }, keys.map((key) => `${key}=${settings(job)[key]}`).join(" "))));
  return element("ul", { className: "gallery" }, ...items);
}

// Show a sweep, and follow it until all of its jobs have ended.
export async function showSheet(name, open) {
  current = name;
  $("sheet").hidden = false;
  $("sheet").focus();
  for (let before = ""; current === name; ) {
    const jobs = (await get(`/jobs?limit=1000&sweep=${encodeURIComponent(name)}`)).jobs.reverse(), keys = sweptKeys(jobs);
    const ended = jobs.filter((job) => FINAL.includes(job.state)).length, key = JSON.stringify(jobs.map((job) => [job.id, job.state, job.step]));
    if (key !== before) {
      before = key;
      $("sheet-state").textContent = `${ended} of ${jobs.length} jobs have ended; swept: ${keys.join(", ") || "nothing"}`;
      $("sheet-images").replaceChildren(keys.length === 2 ? table(jobs, keys, open) : list(jobs, keys, open));
    }
    if (ended === jobs.length) return;
    await new Promise((go) => setTimeout(go, LOOK_MILLISECONDS));
  }
}

export function hideSheet() {
  current = null;
  $("sheet").hidden = true;
}
