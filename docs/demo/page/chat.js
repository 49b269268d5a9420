// The conversation. What has been said stays with the browser; the app remembers nothing of it.

import { amount, copy, stream } from "./http.js";
import { countStreamed } from "./meter.js";

const $ = (id) => document.getElementById(id);
const REASONS = {
  unavailable: "Metering does not answer, and this app does not guess: try again in a moment.",
  subscription_paused: "Your subscription is paused.",
  subscription_overdue: "Your subscription waits for its payment.",
  feature_not_in_plan: "Your plan does not include the chat.",
};
const OUT_OF_CREDIT = "insufficient_credits";

let kept = []; // [who, text, meta] of every message
let storage = "";
let showPaywall = () => {};
let leave = null;

/** Show what was said before, and listen. */
export function startChat(customer, openPaywall) {
  storage = `said:${customer}`;
  showPaywall = openPaywall;
  kept = JSON.parse(sessionStorage.getItem(storage) ?? "[]");
  for (const [who, text, meta] of kept) add(who, text, meta);
  $("prompt").focus();
}

function add(who, text, meta = "") {
  const item = copy("message");
  item.classList.add(...who.split(" "));
  item.querySelector(".text").textContent = text;
  item.querySelector(".meta").textContent = meta;
  $("messages").append(item);
  toEnd();
  return item;
}

function keep(who, text, meta) {
  kept = [...kept.slice(-40), [who, text, meta]];
  sessionStorage.setItem(storage, JSON.stringify(kept));
}

async function say(prompt) {
  add("customer-says", prompt);
  keep("customer-says", prompt, "");
  const item = add("model-says streaming", "");
  busy(true);
  leave = new AbortController();
  let meta = "";
  try {
    for await (const event of stream("api/chat", { text: prompt }, leave.signal)) meta = told(item, event) ?? meta;
  } catch (error) {
    meta = error.name === "AbortError" ? "You left: what was streamed is charged." : `The answer broke off: ${error.message}`;
  }
  item.classList.remove("streaming");
  item.querySelector(".meta").textContent = meta;
  keep(item.className, item.querySelector(".text").textContent, meta);
  countStreamed(0);
  busy(false);
  toEnd();
}

/** Show one event of the answer; what is to stand below it, where that is known. */
function told(item, event) {
  const text = item.querySelector(".text");
  if (event.type === "token") {
    text.textContent += event.text;
    item.dataset.tokens = Number(item.dataset.tokens ?? 0) + 1;
    countStreamed(Number(item.dataset.tokens));
    toEnd();
    return null;
  }
  return event.type === "refused" ? refused(item, text, event) : ended(event);
}

function refused(item, text, { reason }) {
  item.classList.add("refused");
  if (reason !== OUT_OF_CREDIT) {
    text.textContent = REASONS[reason] ?? `The check says no: ${reason}`;
    return "";
  }
  text.textContent = "Your credit is used up.";
  showPaywall("Your credit is used up. Nothing was charged for this answer.");
  return "";
}

function ended({ used, reserved, charged, is_cut: isCut }) {
  if (charged === null) return `${amount(used)} tokens, to be charged when metering is back`;
  if (isCut) showPaywall(`That was as far as your last ${amount(reserved)} credits went.`);
  const cut = isCut ? "cut off where the credit ended · " : "";
  return `${cut}${amount(reserved)} reserved → ${amount(charged)} charged, ${amount(reserved - charged)} back`;
}

function busy(isBusy) {
  $("send").hidden = isBusy;
  $("stop").hidden = !isBusy;
}

function toEnd() {
  $("messages").scrollTop = $("messages").scrollHeight;
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const prompt = $("prompt").value.trim();
  if (!prompt || $("send").hidden) return;
  $("prompt").value = "";
  say(prompt);
});
$("suggestions").addEventListener("click", ({ target }) => {
  if (target.matches("button") && !$("send").hidden) say(target.textContent);
});
$("stop").addEventListener("click", () => leave?.abort());
