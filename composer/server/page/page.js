// The page: form, running job, queue; the gallery, records, sheets and masks are modules of their own.

import { follow, get, keepToken, post, takeToken } from "./api.js";
import { commandOf, element, Form } from "./form.js";
import { Gallery } from "./gallery.js";
import * as mask from "./mask.js";
import * as records from "./record.js";
import { hideSheet, showSheet } from "./sheet.js";

const $ = (id) => document.getElementById(id);
const LOOK_MILLISECONDS = 1500, QUEUED_SHOWN = 20;
let form, gallery, following = null;

function fail(error) {
  $("error").textContent = error.message;
  $("error").hidden = false;
  const inside = document.querySelector("dialog[open] [role=status]"); // what is behind a dialog is not seen
  if (inside) inside.textContent = error.message;
  if (error.status === 401) $("login").hidden = false;
}

const tried = (action) => async (...given) => {
  try {
    $("error").hidden = true;
    return await action(...given);
  } catch (error) {
    fail(error);
  }
};

const sweeping = () => $("sweep").checked;

function showCommand() {
  const words = form.overrides(sweeping());
  $("command").textContent = sweeping() ? commandOf(words).replace("compose", "compose -m") : commandOf(words);
}

const button = (text, label, action) => {
  const made = element("button", { type: "button", ariaLabel: label }, text);
  made.addEventListener("click", tried(action));
  return made;
};

function jobLine(job) {
  const name = `job ${job.number}`;
  const line = element("li", {}, element("strong", {}, `${job.number} ${job.state} `), element("output", {}, job.command), " ");
  if (job.error) line.append(element("p", { className: "reason" }, job.error.message));
  if (["queued", "running"].includes(job.state)) line.append(button("Cancel", `Cancel ${name}`, async () => (await post(`/jobs/${job.id}/cancel`), look())));
  if (["failed", "cancelled"].includes(job.state)) line.append(button("Retry", `Retry ${name}`, async () => (await post(`/jobs/${job.id}/retry`), look())));
  line.append(" ", button("Put into the form", `Put ${name} into the form`, async () => fill(job)));
  return line;
}

function fill(job) {
  if (!form) throw new Error("the form is not there yet: try again in a moment");
  $("record").close();
  form.fill(job.overrides);
  $("form-title").scrollIntoView();
}

function startFrom(name) {
  const task = form.names("task").find(({ const: one }) => one === "img2img")?.const;
  if (!["img2img", "inpaint"].includes(form.chosen.task) && task) form.chosen.task = task;
  form.chosen.recipe = ""; // its steps have images of their own
  form.values.set("image", name);
  form.draw();
  $("form-title").scrollIntoView();
}

function showRunning(job) {
  const progress = element("progress", { max: job.total || 1, value: job.step, ariaLabel: `Steps of job ${job.number}` });
  const parts = [element("p", {}, `job ${job.number}: step ${job.step} of ${job.total || "?"} `, element("output", {}, job.command)), progress];
  if (job.preview) parts.push(element("img", { src: job.preview, alt: `Preview of job ${job.number} after step ${job.step}` }));
  $("running").replaceChildren(...parts);
}

async function followNext(next) {
  if (!next || following === next.id) return;
  following = next.id;
  await follow(next.id, (job) => job.state === "running" && showRunning(job)).catch(() => null);
  following = null;
  $("running").replaceChildren(element("p", {}, "no job"));
  look();
}

const ended = (id) => follow(id, () => null);

async function showQueue() {
  const [running, failed, queued] = await Promise.all(["running", "failed,cancelled", "queued"].map((state) => get(`/jobs?state=${state}&limit=${QUEUED_SHOWN}`)));
  $("counts").textContent = Object.entries(queued.counts).map(([state, count]) => `${count} ${state}`).join(", ");
  const open = [...running.jobs, ...failed.jobs, ...queued.jobs], key = JSON.stringify(open.map((job) => [job.id, job.state]));
  if ($("jobs").dataset.key !== key) {
    $("jobs").dataset.key = key;
    const more = queued.counts.queued - queued.jobs.length;
    const lines = [...open.map(jobLine), ...(more > 0 ? [element("li", {}, `and ${more} more that wait`)] : [])];
    $("jobs").replaceChildren(...(lines.length ? lines : [element("li", {}, "nothing waits, and nothing failed")]));
  }
  return running.jobs[0];
}

async function look() {
  const [next] = await Promise.all([showQueue(), gallery.look()]);
  followNext(next);
}

async function showModels() {
  if (!$("models").open) return;
  $("models-table").textContent = "reading the disk";
  const { models } = await get("/models");
  const head = element("tr", {}, ...["model", "size", "licence", "tasks"].map((text) => element("th", { scope: "col" }, text)));
  const rows = models.map((one) => element("tr", {}, ...[one.name, `${(one.bytes / 2 ** 20).toFixed(0)} MiB`, one.licence ?? "not named", one.tasks.join(", ") || one.reason].map((text) => element("td", {}, text))));
  $("models-table").replaceChildren(rows.length ? element("table", {}, head, ...rows) : element("p", {}, "none beside the model of this package: compose models pull OWNER/NAME"));
}

async function open() {
  const show = tried(records.showRecord), schema = get("/schema");
  schema.catch(() => null); // without the token the first look says so
  gallery = new Gallery(show);
  await look(); // jobs and images first: the form waits for the service's first look at its options
  $("login").hidden = true;
  $("work").hidden = false;
  form = new Form(await schema, showCommand, (image, used) => tried(mask.paintMask)(image, used));
  const page = { look: () => look().catch(fail), fill, startFrom, tried, ended, gallery, showSheet: (name) => tried(showSheet)(name, show) };
  records.listen(page, ["steps", "seed", "guidance", "scheduler", "strength", ...form.textKeys()]);
  mask.listen(tried);
  await form.narrow();
  form.draw();
  setInterval(() => document.hidden || look().catch(fail), LOOK_MILLISECONDS);
}

$("login").addEventListener("submit", tried(async (event) => {
  event.preventDefault();
  keepToken($("token").value);
  await open();
}));
$("form").addEventListener("submit", tried(async (event) => {
  event.preventDefault();
  const { jobs } = await post("/jobs", { overrides: form.overrides(sweeping()), sweep: sweeping() });
  await look();
  if (sweeping()) tried(showSheet)(jobs[0].sweep, tried(records.showRecord));
}));
$("check").addEventListener("click", tried(async () => {
  $("checked").textContent = "";
  const { notes } = await post("/check", { overrides: form.overrides(false) });
  $("checked").textContent = ["all is well: this can run", ...notes].join("; ");
}));
for (const id of ["further", "sweep"]) $(id).addEventListener("input", () => showCommand());
for (const id of ["filter", "favourites"]) $(id).addEventListener("input", tried(() => (gallery.restart(), gallery.look())));
$("older").addEventListener("click", tried(() => gallery.older()));
$("models").addEventListener("toggle", tried(showModels));
$("sheet-close").addEventListener("click", hideSheet);
if (takeToken()) tried(open)();
else $("login").hidden = false;
