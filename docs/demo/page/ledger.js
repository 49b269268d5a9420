// The customer's statement, and whether it adds up.

import { amount, call, copy } from "./http.js";

const $ = (id) => document.getElementById(id);
const KINDS = {
  grant: "Credit granted",
  usage: "Usage",
  reservation_opened: "Reserved",
  reservation_committed: "Committed",
  reservation_released: "Released",
  reservation_expired: "Reservation expired",
};

const sum = (amounts) => Math.round(amounts.reduce((total, one) => total + one, 0) * 1e6) / 1e6;
const signed = (credits) => (credits > 0 ? "+" : "") + amount(credits);

/** The first thing that is wrong with the entries, newest first; null where they add up. */
function fault(entries) {
  for (const [place, entry] of entries.entries()) {
    const older = entries[place + 1];
    if (sum(entry.lines.map((line) => line.amount)) !== 0) return `entry ${entry.seq}: its lines do not sum to zero`;
    if (older && older.total_after !== entry.total_before) return `entry ${entry.seq} does not begin where ${older.seq} ends`;
  }
  return null;
}

function row(entry) {
  const item = copy("entry");
  const change = sum([entry.total_after, -entry.total_before]);
  item.dataset.kind = entry.kind;
  item.querySelector(".kind").textContent = KINDS[entry.kind] ?? entry.kind.replaceAll("_", " ");
  item.querySelector(".seq").textContent = `#${entry.seq}`;
  item.querySelector("time").textContent = new Date(entry.posted_at).toLocaleString();
  item.querySelector(".total").textContent = `${amount(entry.total_before)} → ${amount(entry.total_after)}`;
  item.querySelector(".change").textContent = change ? signed(change) : "±0";
  item.querySelector(".change").classList.add(change > 0 ? "more" : change < 0 ? "less" : "same");
  item.querySelector(".lines").append(...entry.lines.map(line));
  return item;
}

/** One line of an entry; of a long id the beginning is enough. */
function line({ account, amount: credits }) {
  const item = document.createElement("li");
  const change = document.createElement("b");
  item.title = account;
  change.textContent = signed(credits);
  item.append(account.replace(/([0-9a-f]{8})[0-9a-f-]{8,}/, "$1…"), change);
  return item;
}

async function show() {
  const { customer, data } = await call("GET", "api/ledger");
  const wrong = fault(data);
  $("customer").textContent = customer;
  $("entries").replaceChildren(...data.map(row));
  $("verdict").textContent = wrong ?? `${data.length} entries: the lines of each sum to zero, and each begins where the one before it ends.`;
  $("verdict").classList.add(wrong ? "bad" : "good");
}

show().catch((error) => {
  $("verdict").textContent = error.status === 401 ? "Sign in first." : `The ledger does not answer: ${error.message}`;
  $("verdict").classList.add("bad");
});
