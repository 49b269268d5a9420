/** What can go wrong, one class where one acts differently. The codes are those of docs/errors.md. */

import type { ErrorCode, FieldError } from "./types.js";

/** What an error is made of. */
export interface ErrorFacts {
  status: number | null;
  code: ErrorCode;
  detail: string;
  requestId?: string | null;
  errors?: FieldError[];
  mismatch?: string[];
  context?: Record<string, unknown>;
  retryAfter?: number | null;
}

/** The API refused, or did not answer. Decide on `code`: it never changes its meaning. */
export class QuotaStackError extends Error {
  override readonly name: string = "QuotaStackError";
  /** The HTTP status; null where no answer came. */
  readonly status: number | null;
  /** Why, for programs. */
  readonly code: ErrorCode;
  /** Why, for people. */
  readonly detail: string;
  /** The id of the request, as the server's log has it. */
  readonly requestId: string | null;
  /** Which fields are wrong. */
  readonly errors: FieldError[];
  /** What differs under an idempotency key that was used before. */
  readonly mismatch: string[];
  /** Data to act on, such as `subscription_id`. */
  readonly context: Record<string, unknown>;
  /** After how many seconds the server wants to be asked again; null where it does not say. */
  readonly retryAfter: number | null;

  constructor(facts: ErrorFacts, options?: ErrorOptions) {
    super(`${facts.code}: ${facts.detail}`, options);
    this.status = facts.status;
    this.code = facts.code;
    this.detail = facts.detail;
    this.requestId = facts.requestId ?? null;
    this.errors = facts.errors ?? [];
    this.mismatch = facts.mismatch ?? [];
    this.context = facts.context ?? {};
    this.retryAfter = facts.retryAfter ?? null;
  }
}

/** 402 `insufficient_credits`: the customer tops up or upgrades; then ask with a new idempotency key. */
export class InsufficientCreditsError extends QuotaStackError {
  override readonly name = "InsufficientCreditsError";
}

/** 402 `limit_reached`: `context` has `limit`, `used` and, of a limit per period, `resets_at`. Credit does not help. */
export class LimitReachedError extends QuotaStackError {
  override readonly name = "LimitReachedError";
}

/** 403: the customer's plan or subscription does not allow it; the code is the reason that a check gives. */
export class NotEntitledError extends QuotaStackError {
  override readonly name = "NotEntitledError";
}

/** 401, or 403 for want of a scope: the key is wrong for this. */
export class AuthenticationError extends QuotaStackError {
  override readonly name = "AuthenticationError";
}

/** 404: there is no such customer, feature, subscription, reservation, … in the key's environment. */
export class NotFoundError extends QuotaStackError {
  override readonly name = "NotFoundError";
}

/** 409: how things stand does not allow it. */
export class ConflictError extends QuotaStackError {
  override readonly name = "ConflictError";
}

/** 400, 413, 422 and their like: the request is wrong; `errors` names fields, `mismatch` what differs from its first use. */
export class ValidationError extends QuotaStackError {
  override readonly name = "ValidationError";
}

/** 429, still after the retries. */
export class RateLimitedError extends QuotaStackError {
  override readonly name = "RateLimitedError";
}

/** 5xx or no answer of the API's, still after the retries. What was asked may have been done: the same idempotency key finds out. */
export class UnavailableError extends QuotaStackError {
  override readonly name = "UnavailableError";
}

/** No answer, still after the retries. What was asked may have been done: the same idempotency key finds out. */
export class UnreachableError extends QuotaStackError {
  override readonly name = "UnreachableError";
}

/** Usage could not be delivered, and the spool takes no more: the event is not kept. */
export class SpoolFullError extends Error {
  override readonly name = "SpoolFullError";
}

/** A webhook that is not to be believed. */
export class WebhookVerificationError extends Error {
  override readonly name = "WebhookVerificationError";
}

type ErrorClass = new (facts: ErrorFacts) => QuotaStackError;

const OF_THE_KEY: readonly string[] = ["missing_scope", "sandbox_only"];

/** The code of what is not the API's answer. */
export const UNEXPECTED = "unexpected_answer";

/** The class for a status and its code. */
export function errorClass(status: number, code: ErrorCode): ErrorClass {
  if (status >= 500 || (status >= 200 && status < 300)) return UnavailableError;
  // Whoever stands before the API may say so, too: that is not about what the customer may.
  if (code === UNEXPECTED && (status === 402 || status === 403)) return QuotaStackError;
  switch (status) {
    case 401:
      return AuthenticationError;
    case 402:
      return code === "limit_reached" ? LimitReachedError : InsufficientCreditsError;
    case 403:
      return OF_THE_KEY.includes(code) ? AuthenticationError : NotEntitledError;
    case 404:
      return NotFoundError;
    case 409:
      return ConflictError;
    case 429:
      return RateLimitedError;
    default:
      return status >= 400 ? ValidationError : QuotaStackError;
  }
}

/** Whether nobody has said no: no answer came, or one that another attempt might change. */
export function isUndelivered(error: unknown): error is QuotaStackError {
  return (
    error instanceof UnreachableError ||
    error instanceof UnavailableError ||
    error instanceof RateLimitedError ||
    (error instanceof QuotaStackError && error.code === "idempotency_key_in_flight")
  );
}

/** Whether a key is refused only because it is known under another time: the same usage is recorded. */
export function isKnownAtAnotherTime(error: unknown): boolean {
  if (!(error instanceof QuotaStackError) || error.code !== "idempotency_key_reused") return false;
  return error.mismatch.length === 1 && error.mismatch[0] === "timestamp";
}

/** Whether the server is the reason that there is no answer; a refusal is an answer, and so is 429. */
export function isUnanswered(error: unknown): error is QuotaStackError {
  return error instanceof UnreachableError || error instanceof UnavailableError;
}
