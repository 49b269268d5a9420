/**
 * Client of QuotaStack: credits, entitlement checks, usage metering and reservations.
 *
 * Runs wherever `fetch` and WebCrypto are. What only machines with a disk have is in `quotastack/node`.
 */

export type { Check, CheckOptions, Question } from "./checks.js";
export { QuotaStack } from "./client.js";
export type {
  CancelTerms,
  ChangeTerms,
  Motive,
  RenewTerms,
  RequestOptions,
  SubscribeTerms,
  TopUpTerms,
} from "./core-calls.js";
export type { FlushReport } from "./delivery.js";
export {
  AuthenticationError,
  ConflictError,
  InsufficientCreditsError,
  LimitReachedError,
  NotEntitledError,
  NotFoundError,
  QuotaStackError,
  RateLimitedError,
  SpoolFullError,
  UnavailableError,
  UnreachableError,
  ValidationError,
  WebhookVerificationError,
} from "./errors.js";
export { type CachedFailMode, cached, type FailMode } from "./fail-mode.js";
export type { components, paths } from "./openapi.js";
export type { Reservation, ReserveTerms, Spent } from "./reservations.js";
export type { Fetch, QuotaStackOptions } from "./settings.js";
export { type KeptEvent, MemorySpool, type RejectedEvent, type Spool, type WaitingEvent } from "./spool.js";
export {
  type TokenEvent,
  type TokenFeatures,
  type TokenPool,
  type TokenPools,
  tokenUsage,
  usageEvents,
} from "./token-usage.js";
export type { Method, Query } from "./transport.js";
export type * from "./types.js";
export { VERSION } from "./version.js";
export { verifyWebhook, type WebhookEvent, type WebhookHeaders, type WebhookOptions } from "./webhooks.js";
