// The page: form, running job, queue, gallery and record.

import { follow, get, keepToken, post, takeToken } from "./api.js";
import { commandOf, element, Form } from "./form.js";

const $ = (id) => document.getElementById(id);
const LOOK_MILLISECONDS = 1500, PAGE_SIZE = 60;
let form, shown = [], following = null, oldest = null;

function fail(error) {
  $("error").textContent = error.message;
  $("error").hidden = false;
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

async function fill(job) {
  $("record").close();
  form.fill(job.overrides);
  $("form-title").scrollIntoView();
}

function showRunning(job) {
  const progress = element("progress", { max: job.total || 1, value: job.step, ariaLabel: `Steps of job ${job.number}` });
  const parts = [element("p", {}, `job ${job.number}: step ${job.step} of ${job.total || "?"} `, element("output", {}, job.command)), progress];
  if (job.preview) parts.push(element("img", { src: job.preview, alt: `Preview of job ${job.number} after step ${job.step}` }));
  $("running").replaceChildren(...parts);
}

async function followNext(jobs) {
  const next = jobs.find((job) => job.state === "running");
  if (!next || following === next.id) return;
  following = next.id;
  await follow(next.id, (job) => job.state === "running" && showRunning(job)).catch(() => null);
  following = null;
  $("running").replaceChildren(element("p", {}, "no job"));
  look();
}

function imageButton(job, url, number) {
  const image = element("img", { src: url, alt: `Image ${number} of job ${job.number}`, loading: "lazy" });
  const open = element("button", { type: "button" }, image);
  open.addEventListener("click", tried(() => showRecord(job, url)));
  return element("li", { title: job.command }, open);
}

function showGallery() {
  const word = $("filter").value.toLowerCase();
  const done = shown.filter((job) => job.state === "done" && job.command.toLowerCase().includes(word));
  const key = done.map((job) => job.id).join();
  if ($("gallery").dataset.key === key) return; // nothing new: images and the focus stay
  $("gallery").dataset.key = key;
  $("gallery").replaceChildren(...done.flatMap((job) => job.images.map((url, number) => imageButton(job, url, number))));
}

async function showRecord(job, url) {
  $("record-title").textContent = `Image of job ${job.number}`;
  Object.assign($("record-image"), { src: url, alt: job.command });
  $("record-command").textContent = job.command;
  $("again").onclick = () => fill(job);
  $("vary").onclick = tried(async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    await post("/jobs", { overrides: [...job.overrides.filter((word) => !/^\+*seed=/.test(word)), `seed=${seed}`] });
    $("record").close();
    look();
  });
  $("record").showModal();
  $("record-text").textContent = JSON.stringify(await (await fetch(job.record)).json(), null, 1);
}

async function look() {
  const { jobs, counts } = await get(`/jobs?limit=${PAGE_SIZE}`);
  const newest = new Set(jobs.map((job) => job.id));
  shown = [...jobs, ...shown.filter((job) => !newest.has(job.id))];
  oldest = shown.at(-1)?.number ?? null;
  $("counts").textContent = Object.entries(counts).map(([state, count]) => `${count} ${state}`).join(", ");
  const open = jobs.filter((job) => job.state !== "done").slice(0, 30);
  const key = JSON.stringify(open.map((job) => [job.id, job.state]));
  if ($("jobs").dataset.key !== key) {
    $("jobs").dataset.key = key;
    $("jobs").replaceChildren(...(open.length ? open.map(jobLine) : [element("li", {}, "nothing waits, and nothing failed")]));
  }
  $("older").hidden = oldest === null || oldest <= 1;
  showGallery();
  followNext(jobs);
}

async function older() {
  shown.push(...(await get(`/jobs?limit=${PAGE_SIZE}&before=${oldest}`)).jobs);
  oldest = shown.at(-1)?.number ?? null;
  $("older").hidden = oldest <= 1;
  showGallery();
}

async function open() {
  form = new Form(await get("/schema"), showCommand);
  $("login").hidden = true;
  $("work").hidden = false;
  await form.narrow();
  form.draw();
  await look();
  setInterval(() => document.hidden || look().catch(fail), LOOK_MILLISECONDS);
}

$("login").addEventListener("submit", tried(async (event) => {
  event.preventDefault();
  keepToken($("token").value);
  await open();
}));
$("form").addEventListener("submit", tried(async (event) => {
  event.preventDefault();
  await post("/jobs", { overrides: form.overrides(sweeping()), sweep: sweeping() });
  await look();
}));
$("check").addEventListener("click", tried(async () => {
  $("checked").textContent = "";
  const { notes } = await post("/check", { overrides: form.overrides(false) });
  $("checked").textContent = ["all is well: this can run", ...notes].join("; ");
}));
for (const id of ["further", "sweep"]) $(id).addEventListener("input", () => showCommand());
$("filter").addEventListener("input", showGallery);
$("older").addEventListener("click", tried(older));
$("close").addEventListener("click", () => $("record").close());
if (takeToken()) tried(open)();
else $("login").hidden = false;
