// The page is a client like any other: it submits, watches and shows, by the public API alone.

import { call, eventsOf, useKey } from "./service.js";

// The fields that some models take and others do not.
const OPTIONS = ["negative_prompt", "steps", "guidance_scale", "temperature", "top_p", "top_k"];
const form = document.getElementById("request");
const access = document.getElementById("access");
const problem = document.getElementById("problem");
const jobs = document.getElementById("jobs");
const template = document.getElementById("job");
let models = [];

// Does what may be refused, and tells the user of it; a missing key is asked for.
async function attempt(work) {
  problem.hidden = true;
  try {
    await work();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
    if (error.needsKey) access.hidden = false;
  }
}

async function loadModels() {
  ({ models } = await call("GET", "/v1/models"));
  form.elements.model.replaceChildren(
    ...models.map((model) => new Option(model.title || model.name, model.name)));
  access.hidden = true;
  showLimits();
}

function showLimits() {
  const model = models.find(({ name }) => name === form.elements.model.value);
  const { size } = model;
  const sides = { min: size.min, max: size.max, step: size.multiple_of };
  Object.assign(form.elements.width, { ...sides, value: "", placeholder: size.default[0] });
  Object.assign(form.elements.height, { ...sides, value: "", placeholder: size.default[1] });
  for (const name of OPTIONS) {
    const field = form.elements[name];
    const isTaken = model.options.includes(name);
    field.disabled = !isTaken;
    field.closest("label").hidden = !isTaken;
    const limits = model[name];
    if (limits) Object.assign(field, { max: limits.max, value: "", placeholder: limits.default });
  }
}

function readRequest() {
  const request = {};
  for (const { name, value, type, disabled } of form.elements) {
    if (!name || disabled || value === "") continue;
    request[name] = type === "number" ? Number(value) : value;
  }
  return request;
}

// What the pictures are not as asked for, each thing once.
function remarks(job) {
  const told = job.images.flatMap(({ warnings, flagged, withheld }) =>
    flagged.length
      ? [...warnings, `${withheld ? "withheld" : "flagged"}: ${flagged.join(", ")}`]
      : warnings);
  return [...new Set(told)];
}

function describe(job) {
  if (job.status === "queued") {
    if (!job.queue.workers) return "no worker serves this model yet";
    const soon = job.estimate ? `, ready in about ${Math.ceil(job.estimate.eta_s)} s` : "";
    return `${job.queue.position} jobs ahead${soon}`;
  }
  if (job.status === "running") return `step ${job.progress.step} of ${job.progress.steps}`;
  if (job.status === "failed") return `failed: ${job.error.detail}`;
  if (job.status === "succeeded") {
    const seconds = (new Date(job.finished_at) - new Date(job.created_at)) / 1000;
    return [`${seconds.toFixed(1)} s, seed ${job.request.seed}`, ...remarks(job)].join("; ");
  }
  return job.status;
}

function show(card, job) {
  const isFinished = job.finished_at !== null;
  const bar = card.querySelector("progress");
  card.querySelector(".prompt").textContent = job.request.prompt;
  card.querySelector(".state span").textContent = describe(job);
  card.querySelector(".state button").hidden = isFinished;
  bar.hidden = isFinished;
  bar.value = job.progress.step / job.progress.steps;
  for (const image of job.images) showPicture(card, job, image.index, image.url);
}

// A preview stands where its picture will, in its size.
function showPicture(card, job, index, source) {
  const pictures = card.querySelector(".pictures");
  while (pictures.children.length <= index) {
    const picture = new Image(job.request.width, job.request.height);
    picture.alt = job.request.prompt;
    pictures.append(picture);
  }
  const picture = pictures.children[index];
  // Each look at a job gives its pictures new addresses, which differ in their signatures alone.
  const place = (address) => address.split("?")[0];
  if (place(picture.src) !== place(source)) picture.src = source;
}

async function follow(job) {
  const card = template.content.cloneNode(true).querySelector("article");
  card.querySelector("button").onclick = () =>
    attempt(() => call("POST", `/v1/jobs/${job.id}/cancel`));
  jobs.prepend(card);
  show(card, job);
  const changes = {
    queued: (queue) => (job = { ...job, status: "queued", queue }),
    running: () => (job = { ...job, status: "running", queue: null }),
    progress: (progress) => (job = { ...job, progress }),
    preview: ({ index, content_type: type, data }) =>
      showPicture(card, job, index, `data:${type};base64,${data}`),
    image: ({ index, url }) => showPicture(card, job, index, url),
    end: (ended) => (job = ended),
  };
  for await (const { kind, data } of eventsOf(job.id)) {
    changes[kind]?.(data);
    show(card, job);
  }
}

form.elements.model.onchange = showLimits;
form.onsubmit = (event) => {
  event.preventDefault();
  attempt(async () => follow(await call("POST", "/v1/jobs", readRequest())));
};
access.onsubmit = (event) => {
  event.preventDefault();
  useKey(access.elements.key.value.trim());
  access.reset();
  attempt(loadModels);
};
form.elements.prompt.onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    form.requestSubmit();
  }
};

attempt(loadModels);
