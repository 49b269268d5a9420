/** Usage in the background: what is buffered goes out in batches, what is spooled goes out once it can. */

import { pause } from "./backoff.js";
import { forgiveTimes, isRefused, MAX_BATCH_EVENTS, type Outcome, sendBatches } from "./batches.js";
import { SpoolFullError, UNEXPECTED } from "./errors.js";
import type { DeliverySettings } from "./settings.js";
import { type KeptEvent, MemorySpool, type RejectedEvent, type Spool } from "./spool.js";
import type { Transport } from "./transport.js";
import type { UsageEvent } from "./types.js";

/** What `flush` and `close` came to. */
export interface FlushReport {
  /** Events that still wait: in the spool, or in the buffer where the spool is full. */
  waiting: number;
  /** Why, where there are any. */
  error: unknown;
}

/**
 * How old an event may be, by our own clock, to be sent again without its time. It may have arrived before without one; the API
 * knows its key for a day at least, and charges it again after that.
 */
const UNDATED_WITHIN_MS = 23 * 3_600_000;

const CLOSED = "The client is closed: it takes no more usage.";

const CUT_OFF_TIMEOUT_MS = 2_000;

type Timer = ReturnType<typeof setTimeout>;

/** The buffer, the spool, and the one loop that empties each. */
export class Delivery {
  readonly #transport: Transport;
  readonly #settings: DeliverySettings;
  readonly #spool: Spool;
  #opening: Promise<void> | null = null;
  #buffer: KeptEvent[] = [];
  /** How many of the buffer, its first ones, are under way. */
  #sending = 0;
  #spilling: Promise<void> = Promise.resolve();
  #isSpilling = false;
  #canSpill = true;
  #flushTimer: Timer | undefined;
  #drainTimer: Timer | undefined;
  #failures = 0;
  #error: unknown = null;
  #work: Promise<void> = Promise.resolve();
  #state: "open" | "closing" | "closed" = "open";
  #closing: Promise<FlushReport> | null = null;

  constructor(transport: Transport, settings: DeliverySettings) {
    this.#transport = transport;
    this.#settings = settings;
    this.#spool = settings.spool ?? new MemorySpool();
    // What an earlier process left goes out now, whether or not this one ever needs the spool.
    if (this.#spool.isDurable) this.#drainAfter(0);
  }

  /** How long somebody waits for usage to arrive that could be kept as well: not long where nobody was found before. */
  get patience(): { within: number; attempts?: number } {
    const { usageTimeout } = this.#settings;
    if (this.#failures === 0) return { within: usageTimeout };
    return { within: Math.min(usageTimeout, CUT_OFF_TIMEOUT_MS), attempts: 1 };
  }

  /** Take an event to be sent within `flushInterval`. Throws SpoolFullError where too many wait, and the spool is full. */
  buffer(event: UsageEvent, now: Date): void {
    if (this.#state !== "open") throw new Error(CLOSED);
    if (this.#buffer.length >= this.#settings.maxBuffered) this.#spill();
    this.#buffer.push({ event, at: now.toISOString() });
    if (this.#buffer.length === MAX_BATCH_EVENTS) this.#flushAfter(0);
    else this.#flushAfter(this.#settings.flushInterval);
  }

  /** Keep events that could not be delivered; they are, from the spool. Throws where they cannot be kept. */
  async keep(events: readonly KeptEvent[]): Promise<void> {
    await this.#open();
    if (this.#state === "closed") throw new Error(CLOSED); // nobody would send it any more
    await this.#spool.append(events);
    this.#drainAfter(this.#nextDrain());
  }

  /** Send what is buffered and what is spooled, as far as that goes now. */
  async flush(): Promise<FlushReport> {
    return this.#flush(() => undefined);
  }

  async #flush(beforeTheLast: () => void): Promise<FlushReport> {
    await this.#spilling;
    await this.#alone(async () => {
      await this.#drain(); // what waits there is older, and makes room
      await this.#sendBuffer();
      beforeTheLast();
      if (this.#failures === 0) await this.#drain();
    });
    const waiting = this.#buffer.length + this.#spool.size;
    return { waiting, error: waiting ? this.#error : null };
  }

  /** Flush for the last time, and end what goes on in the background. */
  async close(): Promise<FlushReport> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<FlushReport> {
    this.#state = "closing";
    const report = await this.#flush(() => {
      this.#state = "closed";
    });
    clearTimeout(this.#flushTimer);
    clearTimeout(this.#drainTimer);
    await this.#alone(() => this.#spool.close());
    const lost = this.#spool.isDurable ? this.#buffer.length : report.waiting;
    if (lost > 0) {
      const detail = `${lost} usage events could not be sent before the client was closed, and are lost with it.`;
      tell(this.#settings.onError, new Error(detail, { cause: report.error }));
    }
    return report;
  }

  /** One after the other: two that send from the same queue would send the same. */
  #alone(work: () => Promise<void>): Promise<void> {
    const turn = this.#work.then(work);
    this.#work = turn.catch(() => undefined); // whoever asked for it hears of it, and not who comes next
    return turn;
  }

  #open(): Promise<void> {
    this.#opening ??= this.#spool
      .open(this.#settings.kind, () => this.#drainAfter(0))
      .catch((error) => {
        this.#opening = null;
        throw error;
      });
    return this.#opening;
  }

  // ---- the buffer

  #flushAfter(delay: number): void {
    if (delay > 0 && this.#flushTimer !== undefined) return;
    clearTimeout(this.#flushTimer);
    this.#flushTimer = setTimeout(() => {
      this.#flushTimer = undefined;
      this.#alone(() => this.#sendBuffer()).catch((error) => this.#failed(error));
    }, delay);
  }

  async #sendBuffer(): Promise<void> {
    await this.#spilling;
    while (this.#buffer.length > 0) {
      const kept = this.#buffer.slice(0, MAX_BATCH_EVENTS);
      let left = kept;
      this.#sending = kept.length;
      try {
        // Behind what waits already, and without asking a server that is away for each batch anew.
        if (this.#failures === 0) left = await this.#sendBuffered(kept);
        if (left.length > 0) await this.keep(left);
        left = [];
      } catch (error) {
        this.#failed(error);
        if (this.#state === "open") this.#flushAfter(this.#settings.maxDrainInterval);
        return;
      } finally {
        this.#buffer.splice(0, this.#sending, ...left);
        this.#sending = 0;
      }
    }
  }

  /** Those that could not be delivered. */
  async #sendBuffered(kept: readonly KeptEvent[]): Promise<KeptEvent[]> {
    const outcomes = await this.#sendAsSaid(kept);
    await this.#reject(kept, outcomes);
    const lost = outcomes.find((outcome) => outcome.kind === "undelivered");
    if (lost !== undefined) this.#failed(lost.error);
    return kept.filter((_, index) => outcomes[index]?.kind === "undelivered");
  }

  /** A server that does not answer holds the buffer up: what is not under way goes to the spool meanwhile. */
  #spill(): void {
    if (!this.#canSpill || this.#isSpilling) {
      const why = this.#canSpill ? "as many are on their way to the spool" : "the spool is full";
      throw new SpoolFullError(`${this.#buffer.length} events are buffered, and ${why}: this one is not kept.`);
    }
    this.#isSpilling = true;
    const spilled = this.#buffer.splice(this.#sending);
    this.#spilling = this.#spilling
      .then(() => this.keep(spilled))
      .catch((error) => {
        this.#canSpill = false;
        this.#buffer.splice(this.#sending, 0, ...spilled);
        this.#failed(error);
      })
      .finally(() => {
        this.#isSpilling = false;
      });
  }

  // ---- the spool

  #nextDrain(): number {
    const { drainInterval, maxDrainInterval } = this.#settings;
    // Never at once: whatever has failed was asked a moment ago.
    return drainInterval / 2 + pause(this.#failures, drainInterval / 2, maxDrainInterval, Math.random());
  }

  #drainAfter(delay: number): void {
    if (this.#state !== "open" || this.#drainTimer !== undefined) return;
    const timer = setTimeout(() => {
      this.#drainTimer = undefined;
      void this.#alone(() => this.#drain());
    }, delay);
    this.#drainTimer = timer;
    // What only this process has keeps it alive; what is on disk does not.
    if (this.#spool.isDurable) (timer as { unref?: () => void }).unref?.();
  }

  async #drain(): Promise<void> {
    try {
      await this.#open();
      while (await this.#drainBatch());
      this.#failures = 0;
      this.#canSpill = true;
      this.#error = null;
      if (this.#spool.size > 0) return; // came meanwhile, and has its turn
      clearTimeout(this.#drainTimer); // nothing is left that a process would stay for
      this.#drainTimer = undefined;
    } catch (error) {
      this.#failed(error);
      this.#drainAfter(this.#nextDrain());
    }
  }

  /** Whether there is more. Throws what stands in the way. */
  async #drainBatch(): Promise<boolean> {
    const waiting = await this.#spool.peek(MAX_BATCH_EVENTS);
    if (waiting.length === 0) return false;
    const outcomes = await this.#sendDated(waiting);
    await this.#reject(waiting, outcomes);
    const settled = waiting.filter((_, index) => outcomes[index]?.kind !== "undelivered");
    await this.#spool.remove(settled.map(({ place }) => place));
    for (const outcome of outcomes) if (outcome.kind === "undelivered") throw outcome.error;
    return true;
  }

  // ---- both

  async #sendAsSaid(kept: readonly KeptEvent[]): Promise<Outcome[]> {
    const events = kept.map(({ event }) => event);
    return this.#forgiveTimes(kept, events, await sendBatches(this.#transport, events));
  }

  /**
   * Send with the timestamp of the moment in which they were recorded; those that are refused for it, once more without.
   *
   * An event that had arrived before, and whose answer was lost, is known under its key as one without a timestamp. And in a
   * sandbox whose clock is elsewhere the moment of arrival is taken. Of what is too old for that it stays a refusal.
   */
  async #sendDated(kept: readonly KeptEvent[]): Promise<Outcome[]> {
    const events = kept.map(({ event, at }): UsageEvent => ({ ...event, timestamp: event.timestamp ?? at }));
    const outcomes = await sendBatches(this.#transport, events, 1);
    const now = Date.now();
    const again = [...kept.entries()].filter(
      ([index, each]) => isOurs(each) && isYoung(each, now) && isRefusedForItsTime(outcomes[index]),
    );
    const undated = again.map(([, { event }]) => event);
    const answers = await sendBatches(this.#transport, undated, 1);
    again.forEach(([index, { event }], turn) => {
      events[index] = event;
      outcomes[index] = answers[turn] as Outcome;
    });
    return this.#forgiveTimes(kept, events, outcomes);
  }

  #forgiveTimes(kept: readonly KeptEvent[], events: readonly UsageEvent[], outcomes: Outcome[]): Promise<Outcome[]> {
    return forgiveTimes(this.#transport, events, outcomes, (index) => isOurs(kept[index]));
  }

  async #reject(kept: readonly KeptEvent[], outcomes: readonly Outcome[]): Promise<void> {
    const rejected = kept.flatMap(({ event, at }, index): RejectedEvent[] => {
      const refusal = refusalOf(outcomes[index]);
      return refusal === null ? [] : [{ event, at, ...refusal }];
    });
    if (rejected.length === 0) return;
    try {
      await this.#spool.reject(rejected);
    } catch (error) {
      tell(this.#settings.onError, error); // what waits behind them is not held up for it
    }
    for (const each of rejected) tell(this.#settings.onRejected, each);
  }

  #failed(error: unknown): void {
    this.#error = error;
    this.#failures += 1;
    if (this.#failures === 1) tell(this.#settings.onError, error);
  }
}

/** What a callback throws must not keep usage from being sent. */
function tell<News>(listener: (news: News) => void, news: News): void {
  try {
    listener(news);
  } catch (error) {
    console.warn("quotastack: a callback failed:", error);
  }
}

/** Whether an event's time is the one that we noted. */
function isOurs(kept: KeptEvent | undefined): boolean {
  return kept !== undefined && kept.event.timestamp === undefined;
}

function isRefusedForItsTime(outcome: Outcome | undefined): boolean {
  return isRefused(outcome, "idempotency_key_reused") || isRefused(outcome, "timestamp_out_of_range");
}

/** By a clock that was set back in the meantime an event is as far ahead as it may be old: nothing is known of such a one. */
function isYoung({ at }: KeptEvent, now: number): boolean {
  return Math.abs(now - Date.parse(at)) < UNDATED_WITHIN_MS;
}

function refusalOf(outcome: Outcome | undefined): Pick<RejectedEvent, "code" | "detail"> | null {
  if (outcome?.kind === "refused") return { code: outcome.error.code, detail: outcome.error.detail };
  if (outcome?.kind !== "answered" || outcome.result.status !== "rejected") return null;
  return { code: outcome.result.code ?? UNEXPECTED, detail: outcome.result.detail ?? "" };
}
