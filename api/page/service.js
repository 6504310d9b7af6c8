// The public API as the page uses it: with the user's key where one is needed.

// Lives as long as the tab, and no other page reads it.
const KEPT = "darkroom-key";
const RETRY_MS = 1000;

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.needsKey = status === 401;
  }
}

export function useKey(key) {
  sessionStorage.setItem(KEPT, key);
}

export async function call(method, path, body) {
  const json = body ? { "Content-Type": "application/json" } : {};
  const sent = { method, headers: withKey(json), body: body && JSON.stringify(body) };
  const answer = await fetch(path, sent);
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

// What happens to a job, as { kind, data }. Goes on by itself after a cut, where it was cut off; as
// EventSource does, which can send no key.
export async function* eventsOf(jobId) {
  let last = {};
  for (;;) {
    try {
      const answer = await fetch(`/v1/jobs/${jobId}/events`, { headers: withKey(last) });
      if (answer.status === 204) return;
      if (answer.status >= 400 && answer.status < 500) throw await refusal(answer);
      for await (const { event, data, id } of blocksOf(answer.body)) {
        if (id) last = { "Last-Event-ID": id };
        if (event) yield { kind: event, data: JSON.parse(data) };
        if (event === "end") return;
      }
    } catch (error) {
      if (error instanceof Refusal) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function withKey(headers) {
  const key = sessionStorage.getItem(KEPT);
  return key ? { Authorization: `Bearer ${key}`, ...headers } : headers;
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  return new Refusal(answer.status, problem.detail ?? problem.title ?? answer.statusText);
}

// The blocks of a stream of server-sent events, each as its fields; comments have none.
async function* blocksOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) yield fieldsOf(block);
    }
  } finally {
    reader.cancel();
  }
}

function fieldsOf(block) {
  const parts = block.split("\n").map((line) => line.match(/^(\w+): ?(.*)$/) ?? []);
  return Object.fromEntries(parts.map(([, name, value]) => [name, value]));
}
