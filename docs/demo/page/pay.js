// The provider's page: it tells the app that the customer has paid, as often as the button is pressed.

import { amount, call, price } from "./http.js";

const $ = (id) => document.getElementById(id);
const path = `api/payments/${encodeURIComponent(new URLSearchParams(location.search).get("reference"))}`;

function show({ name, customer, reference, price_cents: cents, currency }) {
  $("amount").textContent = price(cents, currency);
  $("item").textContent = name;
  $("customer").textContent = customer;
  $("reference").textContent = reference;
  $("pay").disabled = false;
}

async function confirm() {
  $("pay").disabled = true;
  try {
    const { payment, answer, balance } = await call("POST", `${path}/confirm`);
    tell(payment.told, said(answer), balance);
  } catch (error) {
    tell("?", `The app refused: ${error.message}`, null);
  }
  $("pay").textContent = "Tell the app again";
  $("again").hidden = $("pay").disabled = false;
}

/** What QuotaStack answered: a top-up, or a subscription. */
function said(answer) {
  if (answer.topup_id) return `${answer.topup_id}: ${amount(answer.credits)} credits`;
  return `${answer.subscription_id}: ${answer.plan_key} is ${answer.state}`;
}

function tell(time, what, balance) {
  const item = document.createElement("li");
  const title = document.createElement("b");
  const answer = document.createElement("pre");
  title.textContent = balance === null ? "Not done" : `Told ${times(time)}: the balance is ${amount(balance)}`;
  answer.textContent = what;
  item.append(title, answer);
  $("told").append(item);
}

const times = (count) => (count === 1 ? "once" : count === 2 ? "twice" : `${count} times`);

$("pay").addEventListener("click", confirm);
call("GET", path).then(show, (error) => tell("?", error.message, null));
