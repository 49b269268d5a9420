// The calls that the app has made for this customer: what was asked, what came back, and how long it took.

import { copy } from "./http.js";

const MOST = 60; // that are shown
const VERBS = [
  ["GET", /\/entitlements\/check$/, "check"],
  ["POST", /\/reservations$/, "reserve"],
  ["POST", /\/reservations\/[^/]+\/(commit|extend|release)$/, null],
  ["POST", /\/usage/, "record usage"],
  ["POST", /\/topups$/, "top up"],
  ["POST", /\/subscriptions$/, "subscribe"],
  ["POST", /\/subscriptions\/[^/]+\/(change)$/, null],
  ["GET", /\/(ledger|credits|subscriptions|entitlements|usage)$/, null],
  ["GET", /\/customers\/[^/]+$/, "customer"],
];

/** Add calls to the panel, each above the one before it. */
export function showCalls(calls) {
  const list = document.getElementById("calls");
  for (const call of calls) list.prepend(row(call));
  while (list.childElementCount > MOST) list.lastElementChild.remove();
}

function row(call) {
  const item = copy("call");
  const set = (name, text) => (item.querySelector(`.${name}`).textContent = text);
  item.classList.add(call.server, call.status < 400 && call.status > 0 ? "answered" : "failed");
  item.dataset.verb = verb(call);
  set("verb", verb(call));
  set("route", `${call.method} ${short(call.path)}`);
  set("status", `${call.server} ${call.status || "no answer"}`);
  set("time", `${call.milliseconds.toFixed(1)} ms`);
  set("asked", `${call.method} ${call.path}${call.asked ? ` ${pretty(call.asked)}` : ""}`);
  set("answered", call.answered ? pretty(call.answered) : "");
  return item;
}

function verb({ method, path }) {
  const [route] = path.split("?");
  for (const [needed, pattern, name] of VERBS) {
    const found = method === needed && route.match(pattern);
    if (found) return name ?? found[1];
  }
  return method.toLowerCase();
}

/** The path without its query, and of an id the beginning. */
const short = (path) => path.split("?")[0].replace(/([a-z]+_[0-9a-f]{6})[0-9a-f]{8,}/g, "$1…");

const pretty = (value) => JSON.stringify(value, null, 1).replace(/\n\s*/g, " ");
