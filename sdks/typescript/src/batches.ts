/** Events in batches, and what became of each. */

import { PASSING_CODES } from "./backoff.js";
import { isKnownAtAnotherTime, QuotaStackError, UnavailableError } from "./errors.js";
import type { Transport } from "./transport.js";
import type { BatchResult, UsageEvent } from "./types.js";

/** Events that one request may carry. */
export const MAX_BATCH_EVENTS = 1_000;

/** Bytes of events that are sent at once: below the 4 MiB that a request may have. */
const MAX_BATCH_BYTES = 3 * 1024 * 1024;

/** Of usage that nobody tells the price of. */
export const UNDECIDED = { event_id: null, cost: null, balance: null, overage: null } as const;

/** What the API says of one event; whoever sent it knows its key. */
export type EventResult = Omit<BatchResult, "idempotency_key">;

/** What became of one event: an answer to it, or why there is none. */
export type Outcome =
  | { kind: "answered"; result: EventResult }
  | { kind: "refused"; error: QuotaStackError }
  | { kind: "undelivered"; error: QuotaStackError };

/** Statuses that are about what is sent. In a batch that may be one event, or all of them together. */
const ABOUT_THE_BODY = new Set([400, 413, 422]);

/** Send events, each with its key, in as many requests as it takes; one outcome each, in order. */
export async function sendBatches(
  transport: Transport,
  events: readonly UsageEvent[],
  attempts?: number,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const batch of inBatches(events)) outcomes.push(...(await sendBatch(transport, batch, attempts)));
  return outcomes;
}

function* inBatches(events: readonly UsageEvent[]): Generator<UsageEvent[]> {
  const encoder = new TextEncoder();
  let batch: UsageEvent[] = [];
  let bytes = 0;
  for (const event of events) {
    const added = encoder.encode(JSON.stringify(event)).length;
    if (batch.length === MAX_BATCH_EVENTS || (batch.length > 0 && bytes + added > MAX_BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(event);
    bytes += added;
  }
  if (batch.length > 0) yield batch;
}

/** One request; where it is refused as a whole, its halves, down to the events that are the reason. */
async function sendBatch(transport: Transport, events: readonly UsageEvent[], attempts?: number): Promise<Outcome[]> {
  try {
    const answer = await transport.send<{ results: Omit<EventResult, "source">[] }>({
      method: "POST",
      path: "/v1/usage/batch",
      on: "edge",
      body: { events },
      attempts,
      isAnswer: ({ results }) => results?.length === events.length,
    });
    return answer.results.map((result) => outcomeOf({ ...result, source: "live" }));
  } catch (error) {
    if (!(error instanceof QuotaStackError)) throw error;
    if (!ABOUT_THE_BODY.has(error.status ?? 0)) return events.map(() => ({ kind: "undelivered", error }));
    if (events.length === 1) return [{ kind: "refused", error }];
    const middle = events.length >> 1;
    const first = await sendBatch(transport, events.slice(0, middle), attempts);
    return [...first, ...(await sendBatch(transport, events.slice(middle), attempts))];
  }
}

/**
 * What became of events, those under keys that are known under nothing but another time counted as what they are: recorded.
 *
 * A batch does not say in what an event differs from the first one under its key. So those of `ours`, whose times are none of
 * the caller's, are asked about one by one; the key stands in the way of a second charge.
 */
export async function forgiveTimes(
  transport: Transport,
  events: readonly UsageEvent[],
  outcomes: readonly Outcome[],
  isOurs: (index: number) => boolean,
): Promise<Outcome[]> {
  const forgiven: Outcome[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    const event = events[index];
    const isAsked = event !== undefined && isOurs(index) && isRefused(outcome, "idempotency_key_reused");
    forgiven.push(isAsked ? await askSingly(transport, event, outcome) : outcome);
  }
  return forgiven;
}

/** Whether the API rejected an event for this. */
export function isRefused(outcome: Outcome | undefined, code: string): boolean {
  return outcome?.kind === "answered" && outcome.result.status === "rejected" && outcome.result.code === code;
}

async function askSingly(transport: Transport, event: UsageEvent, outcome: Outcome): Promise<Outcome> {
  const accepted = { status: "accepted", replayed: true, code: null, detail: null, source: "live" } as const;
  try {
    const answer = await transport.send<Omit<EventResult, "source"> & { accepted: boolean }>({
      method: "POST",
      path: "/v1/usage",
      on: "edge",
      body: event,
      attempts: 1,
      isAnswer: (found) => found.accepted === true,
    });
    const { event_id, cost, balance, overage, durability } = answer;
    return { kind: "answered", result: { ...accepted, event_id, cost, balance, overage, durability } };
  } catch (error) {
    if (isKnownAtAnotherTime(error)) return { kind: "answered", result: { ...accepted, ...UNDECIDED } };
    if (!(error instanceof QuotaStackError)) throw error;
    return ABOUT_THE_BODY.has(error.status ?? 0) ? outcome : { kind: "undelivered", error };
  }
}

function outcomeOf(result: EventResult): Outcome {
  if (result.status === "rejected" && PASSING_CODES.has(result.code ?? "")) {
    return { kind: "undelivered", error: asError(result) };
  }
  return { kind: "answered", result };
}

function asError(result: EventResult): QuotaStackError {
  return new UnavailableError({ status: 503, code: result.code ?? "internal_error", detail: result.detail ?? "" });
}
