// The gallery: images of jobs that are done, the newest first, filtered by the service, a page at a time.

import { get } from "./api.js";
import { element } from "./form.js";

const $ = (id) => document.getElementById(id);
const PAGE_SIZE = 60;

export class Gallery {
  constructor(open) {
    this.open = open; // called with a job and the number of its image
    this.restart();
  }

  restart() {
    this.jobs = new Map(); // id → job
    this.items = new Map(); // id → its items of the list
    this.oldest = null;
    $("gallery").replaceChildren();
  }

  address(before) {
    const values = { state: "done", limit: PAGE_SIZE, contains: $("filter").value, favourite: $("favourites").checked ? "true" : "", before: before ?? "" };
    return `/jobs?${new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""))}`;
  }

  async look(before) {
    const asked = this.address(before), { jobs } = await get(asked);
    if (asked !== this.address(before)) return; // the filter has changed meanwhile
    for (const job of jobs) this.add(job);
    const last = jobs.at(-1)?.number ?? this.oldest;
    if (before || this.oldest === null) {
      this.oldest = last;
      $("older").hidden = jobs.length < PAGE_SIZE;
    }
  }

  older() {
    return this.look(this.oldest);
  }

  // Where a job stands is by its number; items that are there already are not touched, so that the focus stays.
  add(job) {
    const known = this.jobs.get(job.id);
    this.jobs.set(job.id, job);
    if (known) {
      if (known.favourite !== job.favourite) this.items.get(job.id).forEach((item) => item.classList.toggle("favourite", job.favourite));
      return;
    }
    const items = job.images.map((url, number) => this.item(job, url, number));
    this.items.set(job.id, items);
    const next = [...$("gallery").children].find((item) => Number(item.dataset.number) < job.number) ?? null;
    for (const item of items) $("gallery").insertBefore(item, next);
  }

  item(job, url, number) {
    const image = element("img", { src: url, alt: `Image ${number} of job ${job.number}`, loading: "lazy", decoding: "async" });
    const open = element("button", { type: "button", title: job.command }, image);
    open.addEventListener("click", () => this.open(this.jobs.get(job.id), number));
    const item = element("li", { className: job.favourite ? "favourite" : "" }, open);
    item.dataset.number = job.number;
    return item;
  }

  // The image before or after one, in the order of the gallery.
  beside(job, number, step) {
    const all = [...this.jobs.values()].sort((one, other) => other.number - one.number).flatMap((one) => one.images.map((_, i) => [one, i]));
    return all[all.findIndex(([one, i]) => one.id === job.id && i === number) + step] ?? null;
  }
}
