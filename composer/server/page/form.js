// The form: made from the JSON Schema of the config, and back to overrides.

import { get, upload } from "./api.js";

const GROUPS = ["recipe", "model", "task", "scheduler", "guidance", "precision", "device", "preset", "memory", "accel", "callbacks", "metric", "output"];
const LISTS = ["memory", "accel", "callbacks", "metric"];
const OPTIONAL = ["recipe", "preset"]; // groups without a default
const FILES = ["image", "mask", "depth", "references", "reference", "control_image", "last_image", "patch"];
const TEXTS = ["prompt", "negative_prompt"];
const OF_OPERATOR = ["model", "revision", "source", "weights"]; // settings of metrics and tools that no request sets

const last = (key) => key.split(".").at(-1);
const isText = (key) => TEXTS.includes(last(key));
const isFile = (key) => FILES.includes(last(key));

// Without the address at the end of a description, which has no space in a narrow field.
const brief = (text) => text.replace(/\s*https?:\/\/\S+$/, "");

export const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};

// Whether a key of a recipe is a step of it, which has keys of its own.
const isStep = ({ properties }) => Boolean(properties?.task ?? properties?.tool);

export class Form {
  // `paint` is called with the name of an image, and a function that takes the name of its mask.
  constructor(schema, changed, paint) {
    this.schema = schema;
    this.changed = changed;
    this.paint = paint;
    this.values = new Map(); // override key → text, in the order in which they were set
    this.chosen = Object.fromEntries(GROUPS.map((group) => [group, this.standard(group)]));
    this.fits = {};
  }

  standard(group) {
    return this.schema.properties.chosen.properties[group]?.default ?? (LISTS.includes(group) ? [] : "");
  }

  names(group) {
    const names = this.schema.$defs[`options.${group}`].oneOf;
    return this.fits[group] ? names.filter(({ const: name }) => name in this.fits[group]) : names;
  }

  async narrow() {
    try {
      this.fits = (await get(`/options?model=${encodeURIComponent(this.chosen.model)}`)).options;
    } catch {
      this.fits = {}; // such as a checkpoint that is not on this machine: all are offered
    }
    for (const group of ["task", "scheduler"]) {
      if (!this.names(group).some(({ const: name }) => name === this.chosen[group])) this.chosen[group] = this.names(group)[0]?.const ?? "";
    }
  }

  // A recipe has the tasks of its steps, and none for all of them.
  groups() {
    return this.chosen.recipe ? GROUPS.filter((group) => group !== "task") : GROUPS;
  }

  draw() {
    document.querySelector("#choices").replaceChildren(...this.groups().map((group) => this.choice(group)));
    document.querySelector("#keys").replaceChildren(...this.fields(this.keys(), "", this.chosen.task));
    document.querySelector("#settings").replaceChildren(...this.steps(), ...this.details());
    this.changed();
  }

  // Keys of the task, or those that a recipe hands to all steps which do not set them themselves.
  keys() {
    const recipe = this.schema.$defs[`recipe.${this.chosen.recipe}`];
    if (!recipe) return this.schema.$defs[`task.${this.chosen.task}`]?.properties ?? {};
    return Object.fromEntries(Object.entries(recipe.properties).filter(([key, about]) => !isStep(about) && !GROUPS.includes(key)));
  }

  // Fields of the keys of a task, a tool or an option: texts first, and no key that requests may not set.
  fields(keys, above, task) {
    const entries = Object.entries(keys).filter(([key]) => !key.startsWith("_") && key !== "folder");
    return entries.sort(([one], [other]) => isText(other) - isText(one)).map(([key, about]) => this.setting(above + key, about, task));
  }

  // Settings of the steps of the chosen recipe, closed until they are opened.
  steps() {
    const steps = Object.entries(this.schema.$defs[`recipe.${this.chosen.recipe}`]?.properties ?? {}).filter(([, about]) => isStep(about));
    return steps.map(([name, { properties: { task, tool, ...keys } }]) => {
      if (tool) for (const key of OF_OPERATOR) delete keys[key];
      return this.closed(`Step ${name}: ${task ? `task=${task.const}` : `tool=${tool.const}`}`, this.fields(keys, `${name}.`, task?.const));
    });
  }

  closed(summary, fields) {
    return element("details", {}, element("summary", {}, summary), element("div", { className: "fields" }, ...fields));
  }

  choice(group) {
    const several = LISTS.includes(group), id = `choose-${group}`;
    const names = this.names(group).map(({ const: name, description }) => {
      const isChosen = several ? this.chosen[group].includes(name) : this.chosen[group] === name;
      return element("option", { value: name, title: description, selected: isChosen }, name);
    });
    if (OPTIONAL.includes(group)) names.unshift(element("option", { value: "" }, "none"));
    const select = element("select", { id, multiple: several }, ...names);
    if (!several) select.value = this.chosen[group];
    const about = this.schema.$defs[`options.${group}`].oneOf.find(({ const: name }) => name === this.chosen[group])?.description ?? "";
    const note = element("span", { className: "note", id: `${id}-note` }, brief(about));
    select.setAttribute("aria-describedby", note.id);
    select.addEventListener("change", async () => {
      this.chosen[group] = several ? [...select.selectedOptions].map(({ value }) => value) : select.value;
      if (group === "model") await this.narrow();
      this.draw();
      document.getElementById(id).focus();
    });
    return element("div", { className: "field" }, element("label", { htmlFor: id }, group), select, note);
  }

  // Settings of the chosen options, closed until they are opened.
  details() {
    return GROUPS.filter((group) => !["recipe", "task", "model", "preset"].includes(group)).flatMap((group) =>
      [this.chosen[group]].flat().flatMap((name) => {
        const about = { ...this.schema.$defs[`${group}.${name}`]?.properties };
        if (group === "metric") for (const key of OF_OPERATOR) delete about[key];
        const fields = this.fields(about, LISTS.includes(group) ? `${group}.${name}.` : `${group}.`);
        return fields.length ? [this.closed(`Settings of ${group}=${name}`, fields)] : [];
      }),
    );
  }

  // What a field shows while it is empty: the default, or the steps that the chosen model recommends for a task.
  standardText(key, about, task) {
    const standard = about.default ?? (last(key) === "steps" && task ? this.recommended(task).steps : null) ?? "";
    return typeof standard === "object" ? JSON.stringify(standard) : String(standard);
  }

  recommended(task) {
    const model = this.schema.$defs[`model.${this.chosen.model}`]?.properties ?? {};
    return this.chosen.preset ? {} : { ...model.recommended?.default, ...model.variants?.default?.[task] }; // a preset may set the model
  }

  setting(key, about, task) {
    const id = `set-${key}`, named = about.$ref ? this.schema.$defs[about.$ref.replace("#/$defs/", "")].oneOf.map(({ const: name }) => name) : [];
    const words = [...named, ...(about.anyOf ?? [about]).flatMap((one) => one.enum ?? (one.type === "boolean" ? [true, false] : []))];
    const standard = this.standardText(key, about, task);
    const kind = isText(key) ? "textarea" : words.length ? "select" : "input";
    const field = element(kind, { id });
    if (words.length) field.append(element("option", { value: "" }, standard ? `${standard} (default)` : "default"), ...words.map((word) => element("option", {}, String(word))));
    else field.placeholder = standard;
    field.value = this.values.get(key) ?? "";
    field.addEventListener("input", () => {
      if (field.value === "") this.values.delete(key);
      else this.values.set(key, field.value);
      this.changed();
    });
    const children = [element("label", { htmlFor: id }, key), field];
    if (isFile(key)) children.push(this.file(key, field));
    if (key === "mask") children.push(this.painter(field));
    if (about.description) {
      children.push(element("span", { className: "note", id: `${id}-note` }, brief(about.description)));
      field.setAttribute("aria-describedby", `${id}-note`);
    }
    return element("div", { className: isText(key) ? "field wide" : "field" }, ...children);
  }

  file(key, field) {
    const file = element("input", { type: "file", accept: "image/*", ariaLabel: `${key}: a file of yours, chosen or dropped here` });
    file.addEventListener("change", async () => {
      field.value = await upload(file.files[0]);
      field.dispatchEvent(new Event("input"));
    });
    return file;
  }

  painter(field) {
    const made = element("button", { type: "button" }, "Paint the mask");
    made.addEventListener("click", () => this.paint(document.getElementById("set-image")?.value ?? "", (name) => {
      field.value = name;
      field.dispatchEvent(new Event("input"));
      made.focus();
    }));
    return made;
  }

  // Keys of texts and numbers that the chosen task has.
  textKeys() {
    return Object.keys(this.keys()).filter((key) => !isFile(key));
  }

  overrides(sweep) {
    const words = this.groups().flatMap((group) => {
      const chosen = this.chosen[group];
      if (String(chosen) === String(this.standard(group))) return [];
      return [LISTS.includes(group) ? `${group}=[${chosen}]` : `${group}=${chosen}`];
    });
    for (const [key, value] of this.values) {
      if (document.getElementById(`set-${key}`)) words.push(`${key}=${isText(key) && !sweep ? quoted(value) : value}`);
    }
    return [...words, ...document.querySelector("#further").value.split("\n").map((line) => line.trim()).filter(Boolean)];
  }

  // Take over the overrides of a job; what the form has no field for goes into the text below.
  fill(words) {
    const further = [];
    this.values.clear();
    for (const group of GROUPS) this.chosen[group] = this.standard(group);
    for (const word of words) {
      const [, key, value] = /^\+*([^=]*)=([^]*)$/.exec(word) ?? [];
      if (GROUPS.includes(key)) this.chosen[key] = LISTS.includes(key) ? value.replace(/[[\]\s]/g, "").split(",").filter(Boolean) : value;
      else if (key) this.values.set(key, isText(key) || isFile(key) ? unquoted(value) : value);
      else further.push(word);
    }
    this.draw();
    for (const [key, value] of this.values) if (!document.getElementById(`set-${key}`)) further.push(`${key}=${value}`);
    document.querySelector("#further").value = further.join("\n");
    this.changed();
  }
}

// A text as one quoted string of the grammar of overrides, whatever is in it.
export const quoted = (text) =>
  `'${text.replace(/(\\*)\$\{/g, (_, marks) => `${marks}${marks}\\\${`).replace(/(\\*)'/g, (_, marks) => `${marks}${marks}\\'`).replace(/\\+$/, (marks) => marks + marks)}'`;

const unquoted = (text) => (/^'[^]*'$/.test(text) ? text.slice(1, -1).replace(/\\'/g, "'").replace(/\\\$\{/g, "${") : text);

// A command line as a shell reads it.
export const commandOf = (words) => ["compose", ...words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`))].join(" ");
