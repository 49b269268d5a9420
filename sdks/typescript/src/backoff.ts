/** Which failures are tried again, and after how long. Nothing here waits, or knows a clock. */

/** What went wrong with one attempt. */
export interface Failure {
  /** null: no answer. */
  status: number | null;
  code: string | null;
  /** Seconds that the answer asked to wait. */
  retryAfter: number | null;
}

/** How often and how long is tried. */
export interface RetryPolicy {
  /** In all, the first one included. */
  attempts: number;
  /** The longest time, in milliseconds, that a `Retry-After` may ask for. */
  maxWait: number;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const PASSING_STATUSES = new Set([429, 500, 502, 503, 504]);

/** Codes of one of many under which nothing is decided: the same may be answered otherwise a moment later. All SDKs share them. */
export const PASSING_CODES: ReadonlySet<string> = new Set([
  "account_loading",
  "account_unavailable",
  "backlog",
  "edge_unavailable",
  "idempotency_key_in_flight",
  "internal_error",
  "order_pending",
  "store_unavailable",
  "test_clock_advancing",
  "too_many_requests",
]);

/** Whether the same request may be answered otherwise a moment later. */
export function isPassing(failure: Failure): boolean {
  // A 2xx that fails was not the API's: some proxy or maintenance page stands where the API will be again.
  if (failure.status === null || (failure.status >= 200 && failure.status < 300)) return true;
  if (failure.status === 409) return failure.code === "idempotency_key_in_flight";
  return PASSING_STATUSES.has(failure.status);
}

/**
 * How many milliseconds to wait before the next attempt, after so many `retries`; null: it is not tried again.
 *
 * `chance` is from [0, 1): clients that failed together do not come back together.
 */
export function nextWait(failure: Failure, retries: number, policy: RetryPolicy, chance: number): number | null {
  if (retries + 1 >= policy.attempts || !isPassing(failure)) return null;
  const asked = (failure.retryAfter ?? 0) * 1000;
  return asked > policy.maxWait ? null : Math.max(asked, pause(retries, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, chance));
}

/** A pause that doubles with each retry from `first` to `longest`, anywhere between none and all of it. */
export function pause(retries: number, first: number, longest: number, chance: number): number {
  return chance * Math.min(longest, first * 2 ** retries);
}

/** Seconds of a `Retry-After`, which is a number or a date; null where it is neither. `now` in milliseconds. */
export function readRetryAfter(value: string | null, now: number): number | null {
  if (value === null) return null;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value);
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, (at - now) / 1000);
}
