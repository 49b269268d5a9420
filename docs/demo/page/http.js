// The app's own routes, and amounts as people read them.

/** The answer's JSON, null where there is none. What is no success is thrown, with its status. */
export async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, options);
  const text = await answer.text();
  const found = text ? JSON.parse(text) : null;
  if (!answer.ok) {
    throw Object.assign(new Error(found?.detail ?? answer.statusText), { status: answer.status, code: found?.code });
  }
  return found;
}

/** What the model says, event by event as it arrives: one JSON document a line. */
export async function* stream(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  if (!answer.ok) throw Object.assign(new Error(answer.statusText), { status: answer.status });
  let rest = "";
  for await (const text of chunks(answer.body.pipeThrough(new TextDecoderStream()).getReader())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

async function* chunks(reader) {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

export const amount = (credits) => new Intl.NumberFormat("en", { maximumFractionDigits: 6 }).format(credits);

export const price = (cents, currency) =>
  new Intl.NumberFormat("en", { style: "currency", currency }).format(cents / 100);

/** A copy of what is in a template of the page. */
export const copy = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
