// Who is there, and what the page shows for them.

import { call } from "./http.js";
import { showCalls } from "./calls.js";
import { startChat } from "./chat.js";
import { beat, setOverview } from "./meter.js";
import { openPaywall, setOffers } from "./paywall.js";

const $ = (id) => document.getElementById(id);
const RETRY_MILLISECONDS = 2000;

const FAIL_MODES = {
  open: "Metering does not answer. This app fails open: answers go on, and are charged as soon as it is back.",
  closed: "Metering does not answer. This app fails closed: there are no answers until it is back.",
};

let overview = null;
let isAsking = false;

/** Ask who is signed in, until somebody answers, and show what belongs to them; the page to sign in where nobody is. */
async function refresh() {
  overview = await ask();
  notice("");
  if (overview === null) return showWelcome();
  setOverview(overview);
  setOffers(overview);
  $("customer").textContent = overview.customer;
  $("plan").textContent = overview.plan_name || "Plans";
  $("who").hidden = $("app").hidden = false;
  $("welcome").hidden = true;
}

async function ask() {
  isAsking = true;
  for (;;) {
    try {
      const found = await call("GET", "api/me");
      isAsking = false;
      return found;
    } catch (error) {
      notice(`The app does not answer: ${error.message}. The page tries again by itself.`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
    }
  }
}

function showWelcome() {
  $("welcome").hidden = false;
  $("who").hidden = $("app").hidden = true;
  $("name").focus();
}

/** Balance and calls, from now on. The browser comes again by itself where the connection breaks. */
function follow() {
  const source = new EventSource("api/live");
  source.onmessage = ({ data }) => {
    const now = JSON.parse(data);
    notice(now.source === "live" ? "" : FAIL_MODES[overview.fail_mode]);
    showCalls(now.calls);
    if (beat(now) && !isAsking) refresh();
  };
  source.onerror = () => notice("The app does not answer. The page tries again by itself.");
}

function notice(text) {
  if ($("notice").textContent !== text) $("notice").textContent = text;
  $("notice").hidden = !text;
}

async function signIn(name) {
  try {
    await call("POST", "api/sign-in", { name: name.toLowerCase() });
  } catch (error) {
    return notice(error.message);
  }
  await enter();
}

async function enter() {
  await refresh();
  if (!$("app").hidden) {
    follow();
    startChat(overview.customer, openPaywall);
  }
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn($("name").value);
});
$("names").addEventListener("click", ({ target }) => {
  if (target.matches("button")) signIn(target.textContent);
});
$("sign-out").addEventListener("click", async () => {
  await call("POST", "api/sign-out");
  location.reload();
});
$("get-credits").addEventListener("click", () => openPaywall());
$("plan").addEventListener("click", () => openPaywall());
document.querySelector(".views").addEventListener("click", ({ target }) => {
  const view = target.dataset.view;
  if (!view) return;
  document.body.dataset.view = view;
  for (const button of target.parentElement.children) button.setAttribute("aria-pressed", button === target);
});

enter();
