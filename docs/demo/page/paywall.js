// What there is to buy, and the way to the provider. Nothing is granted here.

import { amount, call, copy, price } from "./http.js";

const $ = (id) => document.getElementById(id);

/** Fill in what is for sale, and what the customer has. */
export function setOffers({ plan, plans, packs, currency }) {
  const present = plans.findIndex((offer) => offer.key === plan);
  $("plans").replaceChildren(...plans.map((offer, index) => planCard(offer, index - present, currency)));
  $("packs").replaceChildren(...packs.map((offer) => card(offer, "once, never expires", currency, "Buy")));
}

/** Open it, and say why. */
export function openPaywall(why = "") {
  $("paywall-why").textContent = why || "One credit is one token. Plans give credit every month, packs once.";
  if (!$("paywall").open) $("paywall").showModal();
}

/** A plan that is `ahead` steps above the present one. */
function planCard(offer, ahead, currency) {
  const item = card(offer, "a month", currency, ahead > 0 ? "Upgrade" : ahead === 0 ? "Your plan" : "Included");
  item.classList.toggle("present", ahead === 0);
  item.querySelector("button").disabled = ahead <= 0;
  return item;
}

function card({ key, name, credits, price_cents: cents }, when, currency, action) {
  const item = copy("offer");
  const button = item.querySelector("button");
  item.querySelector("h4").textContent = name;
  item.querySelector(".credits").textContent = `${amount(credits)} credits ${when}`;
  item.querySelector(".price").textContent = cents ? price(cents, currency) : "Free";
  item.dataset.item = button.value = key;
  button.textContent = action;
  return item;
}

$("paywall").addEventListener("click", async ({ target }) => {
  if (target === $("paywall")) return $("paywall").close(); // the backdrop
  if (!target.matches(".offer button")) return;
  const payment = await call("POST", "api/payments", { item: target.value });
  location.assign(`pay.html?reference=${payment.reference}`);
});
