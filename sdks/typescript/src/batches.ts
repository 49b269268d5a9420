/** Events in batches, and what became of each. */

import { QuotaStackError, UnavailableError } from "./errors.js";
import type { Transport } from "./transport.js";
import type { BatchResult, UsageEvent } from "./types.js";

/** Events that one request may carry. */
export const MAX_BATCH_EVENTS = 1_000;

/** What became of one event: an answer to it, or why there is none. */
export type Outcome =
  | { kind: "answered"; result: BatchResult }
  | { kind: "refused"; error: QuotaStackError }
  | { kind: "undelivered"; error: QuotaStackError };

/** Codes of single events under which nothing is decided: the same event may be answered otherwise a moment later. */
const PASSING_CODES = new Set([
  "backlog",
  "account_loading",
  "account_unavailable",
  "order_pending",
  "test_clock_advancing",
  "store_unavailable",
  "edge_unavailable",
  "idempotency_key_in_flight",
  "too_many_requests",
  "internal_error",
]);

/** Statuses that are about what is sent. In a batch that may be one event, or all of them together. */
const ABOUT_THE_BODY = new Set([400, 413, 422]);

/** Send events, each with its key, in as many requests as it takes; one outcome each, in order. */
export async function sendBatches(
  transport: Transport,
  events: readonly UsageEvent[],
  attempts?: number,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (let start = 0; start < events.length; start += MAX_BATCH_EVENTS) {
    outcomes.push(...(await sendBatch(transport, events.slice(start, start + MAX_BATCH_EVENTS), attempts)));
  }
  return outcomes;
}

/** One request; where it is refused as a whole, its halves, down to the events that are the reason. */
async function sendBatch(transport: Transport, events: readonly UsageEvent[], attempts?: number): Promise<Outcome[]> {
  try {
    const answer = await transport.send<{ results: Omit<BatchResult, "source">[] }>({
      method: "POST",
      path: "/v1/usage/batch",
      on: "edge",
      body: { events },
      attempts,
    });
    if (answer.results.length !== events.length) throw notOurs();
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

function notOurs(): QuotaStackError {
  return new QuotaStackError({
    status: 202,
    code: "unexpected_answer",
    detail: "The answer to a batch does not have one result for each event.",
  });
}

function outcomeOf(result: BatchResult): Outcome {
  if (result.status === "rejected" && PASSING_CODES.has(result.code ?? "")) {
    return { kind: "undelivered", error: asError(result) };
  }
  return { kind: "answered", result };
}

function asError(result: BatchResult): QuotaStackError {
  return new UnavailableError({ status: 503, code: result.code ?? "internal_error", detail: result.detail ?? "" });
}
