// The mask painter: white is what changes. It works with a pointer and by keyboard.

import { request, upload } from "./api.js";

const $ = (id) => document.getElementById(id);
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Pixels of an image that the form names; only uploads can be shown.
async function pixelsOf(name) {
  const [, id] = /(?:^upload:|\/uploads\/)([0-9a-f]{32})$/.exec(name.replace(/^'|'$/g, "")) ?? [];
  if (!id) throw new Error("image: choose or drop a file first, or take one from the gallery with “Start from it”");
  return createImageBitmap(await (await request(`/uploads/${id}`)).blob());
}

class Painter {
  constructor(image) {
    this.image = image;
    this.canvas = $("mask-canvas");
    [this.canvas.width, this.canvas.height] = [image.width, image.height];
    this.mask = new OffscreenCanvas(image.width, image.height);
    this.at = [image.width / 2, image.height / 2];
    $("mask-size").max = Math.max(image.width, image.height);
    $("mask-size").value = Math.round(Math.max(image.width, image.height) / 8);
    this.draw();
  }

  get size() {
    return Number($("mask-size").value);
  }

  draw() {
    const context = this.canvas.getContext("2d");
    context.drawImage(this.image, 0, 0);
    context.globalAlpha = 0.65;
    context.drawImage(this.mask, 0, 0);
    context.globalAlpha = 1;
    context.lineWidth = Math.max(1, this.image.width / 256);
    for (const [style, more] of [["black", 0], ["white", context.lineWidth]]) {
      context.strokeStyle = style;
      context.beginPath();
      context.arc(...this.at, Math.max(1, this.size / 2 - more), 0, 7);
      context.stroke();
    }
    const tool = $("mask-erase").checked ? "eraser" : "brush";
    $("mask-state").textContent = `${tool} of ${this.size} pixels at ${this.at.map(Math.round).join(", ")}; ${this.share()} % is to change`;
  }

  share() {
    const { data } = this.mask.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, this.mask.width, this.mask.height);
    let painted = 0;
    for (let i = 3; i < data.length; i += 4) painted += data[i] > 127;
    return Math.round((400 * painted) / data.length);
  }

  move(x, y) {
    this.at = [Math.min(Math.max(x, 0), this.image.width), Math.min(Math.max(y, 0), this.image.height)];
  }

  paint(from = this.at) {
    const context = this.mask.getContext("2d");
    context.globalCompositeOperation = $("mask-erase").checked ? "destination-out" : "source-over";
    Object.assign(context, { lineWidth: this.size, lineCap: "round", strokeStyle: "white" });
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(this.at[0] + 0.01, this.at[1]);
    context.stroke();
    this.draw();
  }

  fill(inverted) {
    const context = this.mask.getContext("2d");
    context.globalCompositeOperation = inverted ? "xor" : "destination-out";
    context.fillStyle = "white";
    context.fillRect(0, 0, this.mask.width, this.mask.height);
    this.draw();
  }

  async file() {
    const whole = new OffscreenCanvas(this.mask.width, this.mask.height), context = whole.getContext("2d");
    context.fillStyle = "black";
    context.fillRect(0, 0, whole.width, whole.height);
    context.drawImage(this.mask, 0, 0);
    return whole.convertToBlob({ type: "image/png" });
  }
}

let painter = null, drawing = false, use = null;

// Paint a mask for an image; calls `used` with the name of the upload.
export async function paintMask(name, used) {
  const image = await pixelsOf(name);
  use = used;
  $("mask").showModal();
  painter = new Painter(image);
  $("mask-canvas").focus();
}

export function listen(tried) {
  const canvas = $("mask-canvas");
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    drawing = true;
    canvas.setPointerCapture(event.pointerId);
    painter.move(...point(event));
    painter.paint();
  });
  canvas.addEventListener("pointermove", (event) => {
    const from = painter.at;
    painter.move(...point(event));
    if (drawing) painter.paint(from);
    else painter.draw();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (drawing = false));
  canvas.addEventListener("keydown", (event) => {
    const step = Math.max(1, Math.round(painter.image.width / 64)) * (event.shiftKey ? 10 : 1), [x, y] = KEYS[event.key] ?? [];
    if (x !== undefined) painter.move(painter.at[0] + x * step, painter.at[1] + y * step);
    else if (event.key === " ") painter.paint();
    else if (["+", "=", "-"].includes(event.key)) $("mask-size").value = painter.size + (event.key === "-" ? -4 : 4);
    else return;
    event.preventDefault();
    painter.draw();
  });
  for (const id of ["mask-size", "mask-erase"]) $(id).addEventListener("input", () => painter.draw());
  $("mask-clear").addEventListener("click", () => painter.fill(false));
  $("mask-invert").addEventListener("click", () => painter.fill(true));
  $("mask-close").addEventListener("click", () => $("mask").close());
  $("mask-use").addEventListener("click", tried(async () => {
    use(await upload(await painter.file()));
    $("mask").close();
  }));
}
