// What was measured of an image, in a line.

import { element } from "./form.js";

const shortened = (value) => (value === null || value === undefined ? "not measured" : String(Number(value.toPrecision(4))));

export const metricsOf = (job, number) => Object.entries(job.metrics ?? {}).map(([name, values]) => [name, shortened(values[number])]);

// The line, and nothing where nothing was measured.
export const metricsLine = (job, number) =>
  metricsOf(job, number).map(([name, value]) => element("span", { className: "note metric" }, `${name} ${value}`));
