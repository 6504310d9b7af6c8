// The page is a client like any other: it submits, polls and shows, by the public API alone.

const POLL_MS = 250;
// The fields that some models take and others do not.
const OPTIONS = ["negative_prompt", "steps", "guidance_scale", "temperature", "top_p", "top_k"];
const form = document.getElementById("request");
const problem = document.getElementById("problem");
const jobs = document.getElementById("jobs");
const template = document.getElementById("job");
let models = [];

async function call(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail ?? content.title);
  return content;
}

async function loadModels() {
  ({ models } = await call("GET", "/v1/models"));
  for (const model of models) {
    form.elements.model.add(new Option(model.title || model.name, model.name));
  }
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

function describe(job) {
  if (job.status === "queued") {
    return job.queue.workers ? `${job.queue.position} jobs ahead` : "no worker serves this model yet";
  }
  if (job.status === "running") return `step ${job.progress.step} of ${job.progress.steps}`;
  if (job.status === "failed") return `failed: ${job.error.detail}`;
  if (job.status === "succeeded") {
    const seconds = (new Date(job.finished_at) - new Date(job.created_at)) / 1000;
    return `${seconds.toFixed(1)} s, seed ${job.request.seed}`;
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
  if (!isFinished) return;
  for (const image of job.images) {
    const picture = new Image(image.width, image.height);
    picture.src = image.url;
    picture.alt = job.request.prompt;
    card.querySelector(".pictures").append(picture);
  }
}

async function follow(job) {
  const card = template.content.cloneNode(true).querySelector("article");
  card.querySelector("button").onclick = () => call("POST", `/v1/jobs/${job.id}/cancel`);
  jobs.prepend(card);
  while (true) {
    show(card, job);
    if (job.finished_at !== null) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    job = await call("GET", `/v1/jobs/${job.id}`).catch(() => job);
  }
}

form.elements.model.onchange = showLimits;
form.onsubmit = async (event) => {
  event.preventDefault();
  problem.hidden = true;
  try {
    follow(await call("POST", "/v1/jobs", readRequest()));
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
};
form.elements.prompt.onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    form.requestSubmit();
  }
};

loadModels();
