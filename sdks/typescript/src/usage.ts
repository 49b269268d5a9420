/** Recording usage: at once, in batches, or in the background. */

import { MAX_BATCH_EVENTS, type Outcome, sendBatches } from "./batches.js";
import type { Delivery } from "./delivery.js";
import { isUndelivered } from "./errors.js";
import type { KeptEvent } from "./spool.js";
import { checkAmount, newKey, type Transport } from "./transport.js";
import type { BatchResult, Usage, UsageEvent, UsageOf, UsageRecorded } from "./types.js";

const UNDECIDED = { event_id: null, cost: null, balance: null, overage: null } as const;

/** What records usage for a client. */
export class UsageRecorder {
  readonly #transport: Transport;
  readonly #delivery: Delivery;

  constructor(transport: Transport, delivery: Delivery) {
    this.#transport = transport;
    this.#delivery = delivery;
  }

  /** Record one event and wait for the answer; what cannot be delivered is kept, unless it is enforced. */
  async record(user: string, usage: Usage): Promise<UsageRecorded> {
    const now = new Date();
    const event = asEvent({ ...usage, end_user_id: user });
    try {
      const answer = await this.#transport.send<Omit<UsageRecorded, "source">>({
        method: "POST",
        path: "/v1/usage",
        on: "edge",
        body: event,
        // Whoever waits for this is not kept waiting for what is known: one attempt tells whether it is over.
        attempts: this.#delivery.isCutOff && !event.enforce ? 1 : undefined,
      });
      return { ...answer, source: "live" };
    } catch (error) {
      if (event.enforce || !isUndelivered(error)) throw error;
      await this.#delivery.keep([{ event, at: now.toISOString() }]);
      return { accepted: true, ...UNDECIDED, durability: "local", source: "fallback" };
    }
  }

  /** Record many; one result each, in order. */
  async recordBatch(usages: readonly UsageOf[]): Promise<{ results: BatchResult[] }> {
    const at = new Date().toISOString();
    const results: BatchResult[] = [];
    for (let start = 0; start < usages.length; start += MAX_BATCH_EVENTS) {
      const events = usages.slice(start, start + MAX_BATCH_EVENTS).map(asEvent);
      const outcomes = await sendBatches(this.#transport, events);
      const kept = events.flatMap((event, index): KeptEvent[] =>
        isToBeKept(event, outcomes[index]) ? [{ event, at }] : [],
      );
      if (kept.length > 0) await this.#delivery.keep(kept);
      results.push(...events.map((event, index) => resultOf(event, outcomes[index])));
    }
    return { results };
  }

  /** Have it sent with the next batch. */
  buffer(user: string, usage: Usage): void {
    if (usage.enforce) throw new TypeError("Enforced usage is not buffered: somebody has to hear of its refusal.");
    this.#delivery.buffer(asEvent({ ...usage, end_user_id: user }), new Date());
  }
}

/**
 * The event as it is sent, whoever sends it when: under one key, and as it is now. Throws TypeError for what is no JSON, which
 * would otherwise stand in the way of all that is sent with it.
 */
function asEvent(usage: UsageOf): UsageEvent {
  checkAmount("units", usage.units);
  const { timestamp, idempotency_key, ...rest } = usage;
  const event: UsageEvent = {
    ...rest,
    idempotency_key: idempotency_key ?? newKey(),
    timestamp: timestamp === undefined ? undefined : new Date(timestamp).toISOString(),
  };
  return JSON.parse(JSON.stringify(event));
}

function isToBeKept(event: UsageEvent, outcome: Outcome | undefined): boolean {
  if (outcome?.kind !== "undelivered") return false;
  if (!isUndelivered(outcome.error)) throw outcome.error;
  return !event.enforce;
}

function resultOf(event: UsageEvent, outcome: Outcome | undefined): BatchResult {
  if (outcome?.kind === "answered") return outcome.result;
  const nothing = { ...UNDECIDED, replayed: false } as const;
  if (outcome?.kind === "undelivered" && !event.enforce) {
    return { status: "accepted", ...nothing, code: null, detail: null, durability: "local", source: "fallback" };
  }
  const code = outcome?.error.code ?? "unexpected_answer";
  const detail = outcome?.error.detail ?? null;
  const status = outcome?.kind === "refused" ? "rejected" : "unknown";
  return { status, ...nothing, code, detail, source: outcome?.kind === "refused" ? "live" : "fallback" };
}
