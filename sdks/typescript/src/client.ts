/** The client: every verb of it. */

import { type Check, Checker, type CheckOptions, type Question } from "./checks.js";
import { CoreCalls } from "./core-calls.js";
import { Delivery, type FlushReport } from "./delivery.js";
import { type Reservation, type ReserveTerms, reserve, within } from "./reservations.js";
import { type QuotaStackOptions, readCheckSettings, readDeliverySettings, readTarget } from "./settings.js";
import { path, Transport } from "./transport.js";
import type {
  Acquired,
  BatchResult,
  CustomerState,
  Entitlements,
  Released,
  Usage,
  UsageOf,
  UsageRecorded,
} from "./types.js";
import { UsageRecorder } from "./usage.js";
import { verifyWebhook } from "./webhooks.js";

/**
 * A client of QuotaStack. One is enough for a program: it is safe to share.
 *
 * Every call that changes something has an idempotency key, made once where none is given, so a retry never charges twice.
 */
export class QuotaStack extends CoreCalls {
  readonly #transport: Transport;
  readonly #checker: Checker;
  readonly #delivery: Delivery;
  readonly #recorder: UsageRecorder;

  /** Throws TypeError where an option cannot be used, or key or address are missing. */
  constructor(options: QuotaStackOptions = {}) {
    const target = readTarget(options);
    const transport = new Transport(target);
    super(transport);
    this.#transport = transport;
    this.#checker = new Checker(transport, readCheckSettings(options));
    this.#delivery = new Delivery(transport, readDeliverySettings(options, target));
    this.#recorder = new UsageRecorder(transport, this.#delivery);
  }

  // ---- checks

  /** May this user use this feature now? Where nobody can be asked, the fail mode answers. */
  async checkEntitlement(user: string, feature: string, options: CheckOptions = {}): Promise<Check> {
    return this.#checker.check({ ...options, end_user_id: user, feature_key: feature });
  }

  /** Many checks, of any users; one answer each, in order. */
  async checkEntitlements(questions: readonly Question[]): Promise<Check[]> {
    return this.#checker.checkMany(questions);
  }

  /** Every feature of a user, for a page that shows what can be done. */
  async listEntitlements(user: string): Promise<Entitlements> {
    return this.#checker.list(user);
  }

  // ---- usage

  /**
   * Record usage and wait for the answer. What cannot be delivered is kept and sent later (`durability: "local"`); with
   * `enforce` that is an error, and so is what credit, limit or plan do not allow.
   */
  async recordUsage(user: string, usage: Usage): Promise<UsageRecorded> {
    return this.#recorder.record(user, usage);
  }

  /** Record any number of events; one result each, in order: look at the `status` of each. */
  async recordUsageBatch(usages: readonly UsageOf[]): Promise<{ results: BatchResult[] }> {
    return this.#recorder.recordBatch(usages);
  }

  /** Have usage sent with the next batch, within `flushInterval`. Throws SpoolFullError where too much waits. */
  bufferUsage(user: string, usage: Usage): void {
    this.#recorder.buffer(user, usage);
  }

  /** Send what is buffered and what is spooled, as far as that goes now; `waiting` is 0 where it went. */
  async flush(): Promise<FlushReport> {
    return this.#delivery.flush();
  }

  /** Flush for the last time, and end what goes on in the background. */
  async close(): Promise<FlushReport> {
    return this.#delivery.close();
  }

  // ---- reservations

  /** Set credit aside. Throws where credit or a limit do not allow it. */
  async reserve(user: string, terms: ReserveTerms): Promise<Reservation> {
    return reserve(this.#transport, user, terms);
  }

  /**
   * Do work within a reservation. Say how much was used in `reservation.used`, as it goes: that is committed whatever ends
   * the work, an error included, and where nothing was said everything comes back.
   */
  async withReservation<Result>(
    user: string,
    terms: ReserveTerms,
    work: (reservation: Reservation) => Result | Promise<Result>,
  ): Promise<Result> {
    return within(await this.reserve(user, terms), work);
  }

  // ---- gauges

  /** Hold units of a gauge for a holder, instead of those that it holds already. Throws LimitReachedError. */
  async acquireGauge(
    user: string,
    feature: string,
    holder: string,
    terms: { units?: number; ttl_seconds?: number } = {},
  ): Promise<Acquired> {
    const body = { ...terms, end_user_id: user, holder };
    return this.#transport.send<Acquired>({
      method: "POST",
      path: path`/v1/features/${feature}/acquire`,
      on: "edge",
      body,
      isAnswer: ({ acquired }) => acquired !== undefined,
    });
  }

  /** Give back all that a holder holds. */
  async releaseGauge(user: string, feature: string, holder: string): Promise<Released> {
    const body = { end_user_id: user, holder };
    return this.#transport.send<Released>({
      method: "POST",
      path: path`/v1/features/${feature}/release`,
      on: "edge",
      body,
      isAnswer: ({ released }) => released !== undefined,
    });
  }

  // ---- everything of a customer

  /** Profile, credits, entitlements and subscriptions, asked for at once. */
  async customerState(user: string): Promise<CustomerState> {
    const [customer, credits, entitlements, subscriptions] = await Promise.all([
      this.customer(user),
      this.credits(user),
      this.listEntitlements(user),
      this.subscriptions(user),
    ]);
    return { customer, credits, entitlements, subscriptions };
  }

  /** The event of a webhook, where its signature is good and its time is near: `verifyWebhook`. */
  readonly verifyWebhook = verifyWebhook;
}
