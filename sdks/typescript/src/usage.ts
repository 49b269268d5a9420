/** Recording usage: at once, in batches, or in the background. */

import { forgiveTimes, MAX_BATCH_EVENTS, type Outcome, sendBatches, UNDECIDED } from "./batches.js";
import type { Delivery } from "./delivery.js";
import { isKnownAtAnotherTime, isUndelivered, UNEXPECTED } from "./errors.js";
import { checkAmount, newKey, type Transport } from "./transport.js";
import type { BatchResult, Usage, UsageEvent, UsageOf, UsageRecorded } from "./types.js";

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
        isAnswer: ({ accepted }) => accepted === true,
        ...(event.enforce ? {} : this.#delivery.patience),
      });
      return { ...answer, source: "live" };
    } catch (error) {
      // The same was kept before, and sent with the time that it was kept at.
      if (event.timestamp === undefined && isKnownAtAnotherTime(error)) {
        return { accepted: true, ...UNDECIDED, source: "live" };
      }
      if (event.enforce || !isUndelivered(error)) throw error;
      await this.#delivery.keep([{ event, at: now.toISOString() }]);
      return { accepted: true, ...UNDECIDED, durability: "local", source: "fallback" };
    }
  }

  /** Record many; one result each, in order. Throws only where of the first 1,000 not one was answered or kept. */
  async recordBatch(usages: readonly UsageOf[]): Promise<{ results: BatchResult[] }> {
    const at = new Date().toISOString();
    const events = usages.map(asEvent);
    const results: BatchResult[] = [];
    for (let start = 0; start < events.length; start += MAX_BATCH_EVENTS) {
      const part = events.slice(start, start + MAX_BATCH_EVENTS);
      const { found, error } = await this.#recordPart(part, at);
      results.push(...found);
      // Whoever hears of an error sends everything again, under other keys where we made them.
      if (error !== null && start === 0 && results.every(({ status }) => status === "unknown")) throw error;
    }
    return { results };
  }

  async #recordPart(events: readonly UsageEvent[], at: string): Promise<{ found: BatchResult[]; error: unknown }> {
    const answers = await sendBatches(this.#transport, events);
    const isOurs = (index: number) => events[index]?.timestamp === undefined;
    const outcomes = await forgiveTimes(this.#transport, events, answers, isOurs);
    const kept = new Set(events.filter((event, index) => isToBeKept(event, outcomes[index])));
    let error: unknown = outcomes.map(refusalOfAll).find((each) => each !== null) ?? null;
    try {
      if (kept.size > 0) await this.#delivery.keep([...kept].map((event) => ({ event, at })));
    } catch (failed) {
      kept.clear();
      error = failed;
    }
    return { found: events.map((event, index) => resultOf(event, outcomes[index], kept.has(event))), error };
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
  return outcome?.kind === "undelivered" && isUndelivered(outcome.error) && !event.enforce;
}

/** The error where the API refuses whoever asks, and not the event: a revoked key, a wrong address. */
function refusalOfAll(outcome: Outcome): unknown {
  return outcome.kind === "undelivered" && !isUndelivered(outcome.error) ? outcome.error : null;
}

function resultOf({ idempotency_key }: UsageEvent, outcome: Outcome | undefined, isKept: boolean): BatchResult {
  if (outcome?.kind === "answered") return { ...outcome.result, idempotency_key };
  const nothing = { ...UNDECIDED, replayed: false, idempotency_key } as const;
  if (isKept) {
    return { status: "accepted", ...nothing, code: null, detail: null, durability: "local", source: "fallback" };
  }
  const code = outcome?.error.code ?? UNEXPECTED;
  const detail = outcome?.error.detail ?? null;
  const status = outcome?.kind === "refused" ? "rejected" : "unknown";
  return { status, ...nothing, code, detail, source: outcome?.kind === "refused" ? "live" : "fallback" };
}
