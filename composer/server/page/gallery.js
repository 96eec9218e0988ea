// The gallery: images of jobs that are done, the newest first, filtered by the service, a page at a time.

import { get } from "./api.js";
import { element } from "./form.js";
import { metricsLine } from "./metrics.js";

const $ = (id) => document.getElementById(id);
const PAGE_SIZE = 60, OLDER_SIZE = 240;

export class Gallery {
  constructor(open) {
    this.open = open; // called with a job and the number of its image
    this.restart();
  }

  restart() {
    this.jobs = new Map(); // id → job
    this.items = new Map(); // id → its items of the list
    this.order = []; // the jobs as the list has them: their numbers fall
    this.oldest = null;
    $("gallery").replaceChildren();
  }

  address(before) {
    const values = { state: "done", limit: before ? OLDER_SIZE : PAGE_SIZE, contains: $("filter").value, favourite: $("favourites").checked ? "true" : "", before: before ?? "" };
    return `/jobs?${new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""))}`;
  }

  async look(before) {
    const asked = this.address(before), { jobs } = await get(asked);
    if (asked !== this.address(before)) return; // the filter has changed meanwhile
    for (const job of jobs) this.add(job);
    const last = jobs.at(-1)?.number ?? this.oldest;
    if (before || this.oldest === null) {
      this.oldest = last;
      $("older").hidden = jobs.length < (before ? OLDER_SIZE : PAGE_SIZE);
    }
  }

  older() {
    return this.look(this.oldest);
  }

  // Where a job stands is by its number; items that are there already are not touched, so that the focus stays.
  add(job) {
    const known = this.jobs.get(job.id);
    if (known) {
      if (known.favourite !== job.favourite) this.items.get(job.id).forEach((item) => item.classList.toggle("favourite", job.favourite));
      Object.assign(known, job);
      return;
    }
    if (!job.images.length) return;
    const items = job.images.map((url, number) => this.item(job, url, number)), at = this.place(job.number);
    const next = at < this.order.length ? this.items.get(this.order[at].id)[0] : null;
    this.jobs.set(job.id, job);
    this.items.set(job.id, items);
    this.order.splice(at, 0, job);
    for (const item of items) $("gallery").insertBefore(item, next);
  }

  // Position of the first job with this number or a smaller one; at the end at once, where older ones go.
  place(number) {
    let low = 0, high = this.order.length;
    if (high && this.order[high - 1].number > number) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.order[middle].number > number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  item(job, url, number) {
    const image = element("img", { src: url, alt: `Image ${number} of job ${job.number}`, loading: "lazy", decoding: "async" });
    const open = element("button", { type: "button", title: job.command }, image);
    open.addEventListener("click", () => this.open(this.jobs.get(job.id), number));
    const item = element("li", { className: job.favourite ? "favourite" : "" }, open, ...metricsLine(job, number));
    item.dataset.number = job.number;
    return item;
  }

  // The image before or after one, in the order of the gallery; null at its ends.
  beside(job, number, step) {
    const within = number + step;
    if (job.images[within]) return [job, within];
    const at = this.place(job.number), other = this.order[at]?.id === job.id ? this.order[at + step] : null;
    return other ? [other, step > 0 ? 0 : other.images.length - 1] : null;
  }
}
