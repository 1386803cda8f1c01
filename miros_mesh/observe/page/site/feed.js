// What the server says: answers to questions, and events as they happen. The token goes in a header,
// from memory: no other site can send it, and no address shows it.

const PLACE = "miros-mesh-token";
const RETRY_MS = [500, 1000, 2000, 4000];
// The server says something each second.
const SILENT_MS = 8000;

export class Problem extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

let token = "";

// Takes the token out of the address, and keeps it for a reload of this tab.
export function enter() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (found) {
    token = decodeURIComponent(found[1]);
    sessionStorage.setItem(PLACE, token);
    history.replaceState(null, "", location.pathname);
  } else {
    token = sessionStorage.getItem(PLACE) ?? "";
  }
}

export async function ask(path, query = {}) {
  return (await request(path, query)).json();
}

export async function askBytes(path, query = {}) {
  return (await request(path, query)).blob();
}

export async function act(path, content) {
  const headers = { "Content-Type": "application/json" };
  return (
    await request(path, {}, { method: "POST", headers, body: JSON.stringify(content) })
  ).json();
}

async function request(path, query, options = {}) {
  const asked = new URLSearchParams(query).toString();
  const headers = { ...options.headers, Authorization: `Bearer ${token}` };
  const answer = await fetch(asked ? `${path}?${asked}` : path, { ...options, headers });
  if (!answer.ok) throw new Problem(answer.status, await words(answer));
  return answer;
}

async function words(answer) {
  try {
    return (await answer.json()).problem;
  } catch {
    return `the server answers ${answer.status}`;
  }
}

// Calls `on[kind](data)` for each event, and `state` with `live`, `waits` or `refused` and words.
// Begins anew after each end, until the token is refused.
export async function follow(on, state) {
  for (let tries = 0; ; tries += 1) {
    try {
      await read(on, () => {
        tries = 0;
        state("live", "connected");
      });
      state("waits", "the server has ended; trying again");
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        state("refused", error.message);
        return;
      }
      state("waits", error instanceof Problem ? error.message : "no connection; trying again");
    }
    const pause = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)];
    await new Promise((done) => setTimeout(done, pause));
  }
}

async function read(on, began) {
  const broken = new AbortController();
  const answer = await request("/api/events", {}, { signal: broken.signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  began();
  let rest = "";
  for (;;) {
    const silence = setTimeout(() => broken.abort(), SILENT_MS);
    const { value, done } = await reader.read();
    clearTimeout(silence);
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const each of events) hear(each, on);
  }
}

function hear(text, on) {
  const [first, second] = text.split("\n");
  const kind = first.slice("event: ".length);
  on[kind]?.(JSON.parse(second.slice("data: ".length)));
}
