// The page is a client like any other: it submits, watches and shows, by the public API alone.

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
    if (!job.queue.workers) return "no worker serves this model yet";
    const soon = job.estimate ? `, ready in about ${Math.ceil(job.estimate.eta_s)} s` : "";
    return `${job.queue.position} jobs ahead${soon}`;
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

function follow(job) {
  const card = template.content.cloneNode(true).querySelector("article");
  card.querySelector("button").onclick = () => call("POST", `/v1/jobs/${job.id}/cancel`);
  jobs.prepend(card);
  show(card, job);
  // It goes on by itself after a cut, where it was cut off.
  const events = new EventSource(`/v1/jobs/${job.id}/events`);
  const on = (kind, change) =>
    events.addEventListener(kind, ({ data }) => {
      change(JSON.parse(data));
      show(card, job);
    });
  on("queued", (queue) => (job = { ...job, status: "queued", queue }));
  on("running", () => (job = { ...job, status: "running", queue: null }));
  on("progress", (progress) => (job = { ...job, progress }));
  on("preview", ({ index, content_type: type, data }) =>
    showPicture(card, job, index, `data:${type};base64,${data}`));
  on("image", ({ index, url }) => showPicture(card, job, index, url));
  on("end", (ended) => {
    events.close();
    job = ended;
  });
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
