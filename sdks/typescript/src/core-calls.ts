/** What is asked of core: customers, subscriptions, top-ups, and everything else. */

import { type Call, type Method, newKey, path, type Query, type Transport } from "./transport.js";
import type { ChangePreview, Credits, Customer, Keyed, Schema, Subscription, Topup } from "./types.js";

/** Who is to be subscribed to what, when, and how; a key where the call is to be repeated. */
export type SubscribeTerms = Omit<Schema<"NewSubscription">, "end_user_id"> & Keyed;

/** To the newest version of which variant, and when. */
export type ChangeTerms = Schema<"ChangeTerms"> & Keyed;

/** Which payment, and for which period. */
export type RenewTerms = Schema<"Renewal"> & Keyed;

/** When it is to end, and why. */
export type CancelTerms = Schema<"Cancellation"> & Keyed;

/** Why, for whoever asks later. */
export type Motive = Schema<"Motive"> & Keyed;

/** A payment that your provider has confirmed: `package_key`, or `credits` with `price_paid` and `currency`. */
export type TopUpTerms = Omit<Schema<"NewTopup">, "end_user_id"> & Keyed;

/** What a call of `request` sends. */
export interface RequestOptions {
  body?: unknown;
  query?: Query;
  /** One is made where the method changes something and none is given. */
  idempotencyKey?: string;
}

const MOST_SUBSCRIPTIONS = 1_000;

/** The part of a client that talks to core. */
export class CoreCalls {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Anything of the API, with the same retries and errors; the answer's body, null where it has none. */
  async request<Answer = unknown>(method: Method, where: string, options: RequestOptions = {}): Promise<Answer> {
    // Anything else behind an address is part of it: "@elsewhere" would be sent the key.
    if (!/^\/(?!\/)/.test(where)) throw new TypeError("A path begins with one `/`.");
    return this.#transport.send(asCall<Answer>(method, where, options));
  }

  // ---- customers

  /** Make a customer; subscribing makes one, too. */
  async createCustomer(user: string, { idempotency_key }: Keyed = {}): Promise<Customer> {
    return this.#post("/v1/customers", "customer_id", { end_user_id: user, idempotency_key });
  }

  /** A customer. */
  async customer(user: string): Promise<Customer> {
    return this.#get(path`/v1/customers/${user}`, "customer_id");
  }

  /** What a customer has, and in which blocks. */
  async credits(user: string): Promise<Credits> {
    return this.#get(path`/v1/customers/${user}/credits`, "balance");
  }

  /** Turn a confirmed payment into credit. A `payment_reference` grants once, for ever. */
  async topUp(user: string, terms: TopUpTerms): Promise<Topup> {
    return this.#post("/v1/topups", "topup_id", { ...terms, end_user_id: user });
  }

  // ---- subscriptions

  /** Subscribe a user to a plan; the customer is made where there is none. */
  async subscribe(user: string, terms: SubscribeTerms): Promise<Subscription> {
    return this.#post("/v1/subscriptions", "subscription_id", { ...terms, end_user_id: user });
  }

  /** A subscription. */
  async subscription(id: string): Promise<Subscription> {
    return this.#get(path`/v1/subscriptions/${id}`, "subscription_id");
  }

  /** All subscriptions of a user, those that have ended too, in the order in which they were made. */
  async subscriptions(user: string): Promise<Subscription[]> {
    const query = { end_user_id: user, limit: MOST_SUBSCRIPTIONS };
    const page = await this.#get<Schema<"SubscriptionPage">>("/v1/subscriptions", "data", query);
    return page.data;
  }

  /** Change to another variant: what gives as much credit or more at once, the rest when the period ends. */
  async changeSubscription(id: string, terms: ChangeTerms): Promise<Subscription> {
    return this.#post(path`/v1/subscriptions/${id}/change`, "subscription_id", terms);
  }

  /** What a change would do if it were asked for now. */
  async previewChange(id: string, terms: ChangeTerms): Promise<ChangePreview> {
    return this.#post(path`/v1/subscriptions/${id}/change/preview`, "credits_granted", terms);
  }

  /** Let a subscription stand still. */
  async pauseSubscription(id: string, motive: Motive = {}): Promise<Subscription> {
    return this.#post(path`/v1/subscriptions/${id}/pause`, "subscription_id", motive);
  }

  /** Let it go on. */
  async resumeSubscription(id: string, motive: Motive = {}): Promise<Subscription> {
    return this.#post(path`/v1/subscriptions/${id}/resume`, "subscription_id", motive);
  }

  /** End it with its period, or `{ at: "now" }`. */
  async cancelSubscription(id: string, terms: CancelTerms = {}): Promise<Subscription> {
    return this.#post(path`/v1/subscriptions/${id}/cancel`, "subscription_id", terms);
  }

  /** The next period is paid for. A `payment_reference` renews once, for ever. */
  async renewSubscription(id: string, terms: RenewTerms = {}): Promise<Subscription> {
    return this.#post(path`/v1/subscriptions/${id}/renew`, "subscription_id", terms);
  }

  /** What has not the `member` that it must have is no answer. */
  async #get<Answer>(where: string, member: keyof Answer, query?: Query): Promise<Answer> {
    const isAnswer = (answer: Partial<Answer>) => answer[member] !== undefined;
    return this.#transport.send({ ...asCall<Answer>("GET", where, { query }), isAnswer });
  }

  async #post<Answer>(where: string, member: keyof Answer, terms: object): Promise<Answer> {
    const { idempotency_key, ...body }: Keyed = terms;
    const isAnswer = (answer: Partial<Answer>) => answer[member] !== undefined;
    return this.#transport.send({
      ...asCall<Answer>("POST", where, { body, idempotencyKey: idempotency_key }),
      isAnswer,
    });
  }
}

function asCall<Answer>(method: Method, where: string, { query, body, idempotencyKey }: RequestOptions): Call<Answer> {
  const key = method === "GET" ? undefined : (idempotencyKey ?? newKey());
  return { method, path: where, on: "core", query, body, idempotencyKey: key };
}
