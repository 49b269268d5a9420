/** The API's bodies under the names that a reader looks for. All of them come from the OpenAPI document. */

import type { components } from "./openapi.js";

type Schemas = components["schemas"];

/** A type of the OpenAPI document by its name there. */
export type Schema<Name extends keyof Schemas> = Schemas[Name];

/** The API's codes (docs/errors.md), `unreachable` and `unexpected_answer` of this client; and codes to come. */
export type ErrorCode = Schemas["Code"] | "unreachable" | "unexpected_answer" | (string & {});

/** A problem document. */
export type Problem = Schemas["Problem"];

/** What is wrong with one field. */
export type FieldError = Schemas["FieldError"];

/** A customer's every feature. */
export type Entitlements = Schemas["Entitlements"];

/** A customer. */
export type Customer = Schemas["CustomerBody"];

/** What a customer has, and in which blocks. */
export type Credits = Schemas["CreditsBody"];

/** A subscription and its present period. */
export type Subscription = Schemas["SubscriptionBody"];

/** What a change would do. */
export type ChangePreview = Schemas["ChangePreview"];

/** A top-up. */
export type Topup = Schemas["TopupBody"];

/** What a holder holds of a gauge. */
export type Acquired = Schemas["Acquired"];

/** What is left of a gauge's holders. */
export type Released = Schemas["Released"];

/** How a reservation ended. */
export type ReservationEnded = Schemas["ReservationEnded"];

/** Under which key a call is one and the same, however often it is sent. Left out: one is made for the call. */
export interface Keyed {
  idempotency_key?: string;
}

/** What was used, said by the application. */
export interface Usage extends Keyed {
  feature_key: string;
  /** 1 unless given; above 0, at most six decimals. */
  units?: number;
  /** When it happened, if not now. */
  timestamp?: string | Date;
  /** What a price may depend on, such as `{ model: "large" }`. */
  properties?: Record<string, unknown>;
  /** Refuse it (402, 403) where credit, limit or plan do not allow it. Never spooled. */
  enforce?: boolean;
}

/** The same with its user, for batches. */
export interface UsageOf extends Usage {
  end_user_id: string;
}

/** Usage as it is sent: with its key. */
export interface UsageEvent {
  end_user_id: string;
  feature_key: string;
  units?: number;
  idempotency_key: string;
  timestamp?: string;
  properties?: Record<string, unknown>;
  enforce?: boolean;
}

/** Where an answer comes from: the API, the last answer that it gave, or nobody. */
export type Source = "live" | "cache" | "fallback";

/**
 * Usage that was taken in. Null are cost, balance and overage where nobody could decide yet, and where the same was recorded
 * before, from the spool.
 */
export interface UsageRecorded {
  accepted: true;
  event_id: string | null;
  cost: number | null;
  balance: number | null;
  overage: number | null;
  /** Where the event waits to be decided on: in an edge's spool, or in this process' own. Absent: it is decided. */
  durability?: "spooled" | "local";
  source: Source;
}

/** What became of one event of a batch. */
export interface BatchResult {
  /** `unknown`: nobody answered, and it is not kept, be it that it is enforced. Its idempotency key finds out. */
  status: "accepted" | "rejected" | "unknown";
  replayed: boolean;
  /** Yours, or the one that was made: under it the same usage may be sent again. */
  idempotency_key: string;
  event_id: string | null;
  cost: number | null;
  balance: number | null;
  overage: number | null;
  code: ErrorCode | null;
  detail: string | null;
  durability?: "spooled" | "local";
  source: Source;
}

/** Everything that is known of a customer, asked for at once. */
export interface CustomerState {
  customer: Customer;
  credits: Credits;
  entitlements: Entitlements;
  subscriptions: Subscription[];
}
