// Requests to the service. The token is kept for this tab, and never part of an address that is sent.

const KEY = "composer-token";

export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

export const keepToken = (token) => sessionStorage.setItem(KEY, token);

export async function request(path, options = {}) {
  const headers = { authorization: `Bearer ${sessionStorage.getItem(KEY)}`, ...options.headers };
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => null);
  const error = new Error(body?.error?.message ?? `the service answered ${answer.status}`);
  error.status = answer.status;
  throw error;
}

export const get = async (path) => (await request(path)).json();

export const post = async (path, body) =>
  (await request(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body ?? {}) })).json();

export const upload = async (file) =>
  (await (await request("/uploads", { method: "POST", headers: { "content-type": "image/*" }, body: file })).json()).upload;

// Server-sent events of a job: calls `show` with the job each time it changes, and returns the last.
export async function follow(id, show) {
  const reader = (await request(`/jobs/${id}/events`)).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", last = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return last;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (data) show((last = JSON.parse(data.slice(6))));
    }
  }
}
