// The balance as the edge tells it, four times a second, and in between what has been streamed.

import { amount } from "./http.js";

const $ = (id) => document.getElementById(id);
const part = (name) => document.querySelector(`.track .${name}`);
const TWEEN_MILLISECONDS = 250;
const RECENT = 20;

let whole = null; // the credits that are known of: left, reserved and spent together
let shown = null; // the number that the page shows, on its way to what it should be
let streamed = 0; // tokens of the answer that comes in now
let last = null;
const times = [];

/** What is known of the customer's plan and credit since the last look at core. */
export function setOverview(overview) {
  whole = overview.credits_known;
}

/** The next token has come in: that much of the reservation is used. */
export function countStreamed(tokens) {
  streamed = tokens;
  if (last) draw(last);
}

/** Show what the edge says. True where there is credit that was not known of: somebody granted some. */
export function beat(now) {
  const known = now.balance !== null;
  document.querySelector(".meter").classList.toggle("unknown", !known);
  pulse(now, known);
  if (!known) return false;
  last = now;
  draw(now);
  tween(now.balance);
  return whole === null || now.balance + now.reserved > whole;
}

function pulse(now, known) {
  if (known) times.push(now.milliseconds);
  if (times.length > RECENT) times.shift();
  const median = [...times].sort((a, b) => a - b)[times.length >> 1];
  $("pulse").textContent = known ? `edge answers in ${median.toFixed(1)} ms` : "no answer from the edge";
}

function draw({ balance, reserved }) {
  const all = Math.max(whole, balance + reserved, 1);
  const used = Math.min(streamed, reserved);
  part("left").style.width = `${(Math.max(balance, 0) / all) * 100}%`;
  part("streamed").style.width = `${(used / all) * 100}%`;
  part("held").style.width = `${((reserved - used) / all) * 100}%`;
  $("left").textContent = amount(balance);
  $("reserved").textContent = amount(reserved);
  $("spent").textContent = amount(Math.max(all - balance - reserved, 0));
}

function tween(target) {
  const from = shown ?? target;
  if (from === target || matchMedia("(prefers-reduced-motion: reduce)").matches) return show(target);
  const began = performance.now();
  const step = (now) => {
    if (last.balance !== target) return; // a newer one is on its way
    const done = Math.min((now - began) / TWEEN_MILLISECONDS, 1);
    show(done === 1 ? target : Math.round(from + (target - from) * done));
    if (done < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

function show(number) {
  shown = number;
  $("balance").textContent = amount(number);
}
