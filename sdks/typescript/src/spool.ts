/** Usage that could not be delivered, kept until it is. */

import { SpoolFullError } from "./errors.js";
import type { ErrorCode, UsageEvent } from "./types.js";

/** An event that waits. `at` is when it was recorded (RFC 3339): its timestamp, where it has none of its own. */
export interface KeptEvent {
  event: UsageEvent;
  at: string;
}

/** A kept event in its place. */
export interface WaitingEvent extends KeptEvent {
  /** Names it for `remove`; ascending in the order in which they were kept. */
  place: number;
}

/** An event that was accepted here and refused by the API. */
export interface RejectedEvent extends KeptEvent {
  code: ErrorCode;
  detail: string;
}

/** Where usage waits. Calls of one client do not overlap but for `append`. */
export interface Spool {
  /** Whether it survives the process. */
  readonly isDurable: boolean;
  /** How many wait. */
  readonly size: number;
  /**
   * Make ready, and find what an earlier process left for the same kind of environment (`test`, `live`); `onFound` hears of
   * what is found later.
   */
  open(kind: string, onFound: () => void): Promise<void>;
  /** Keep events behind all others: all of them or none, for good once this returns. Throws SpoolFullError. */
  append(events: readonly KeptEvent[]): Promise<void>;
  /** The first ones, oldest first, at most `most`. */
  peek(most: number): Promise<WaitingEvent[]>;
  /** Forget these: each was answered. */
  remove(places: readonly number[]): Promise<void>;
  /** Keep, beside what waits, what was refused. */
  reject(events: readonly RejectedEvent[]): Promise<void>;
  /** Let go of everything that is held open. What waits stays for the next process, where it is durable. */
  close(): Promise<void>;
}

/** Bytes that may wait, unless said otherwise: 64 MiB. */
export const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;

const MAX_REJECTED = 1_000;
const WARNING =
  "quotastack: the API is not reached, so usage is kept in memory: it does not survive this process. " +
  'On a machine with a disk give `spool: new FileSpool(path)`, from "quotastack/node".';

/** Keeps usage in memory: as long as the process lives. */
export class MemorySpool implements Spool {
  readonly isDurable = false;
  /** The last 1,000 events that the API refused. */
  readonly rejected: RejectedEvent[] = [];
  readonly #maxBytes: number;
  readonly #waiting = new Map<number, { kept: KeptEvent; bytes: number }>();
  #bytes = 0;
  #next = 0;
  #hasWarned = false;

  constructor(options: { maxBytes?: number } = {}) {
    this.#maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Nothing to be found. */
  async open(): Promise<void> {}

  /** Keep events. Throws SpoolFullError. */
  async append(events: readonly KeptEvent[]): Promise<void> {
    if (!this.#hasWarned) console.warn(WARNING);
    this.#hasWarned = true;
    const sized = events.map((kept) => ({ kept, bytes: JSON.stringify(kept).length }));
    const added = sized.reduce((sum, { bytes }) => sum + bytes, 0);
    checkRoom(this.#bytes + added, this.#maxBytes);
    for (const each of sized) {
      this.#waiting.set(this.#next, each);
      this.#next += 1;
    }
    this.#bytes += added;
  }

  /** The first ones. */
  async peek(most: number): Promise<WaitingEvent[]> {
    const first: WaitingEvent[] = [];
    for (const [place, { kept }] of this.#waiting) {
      if (first.length === most) break;
      first.push({ ...kept, place });
    }
    return first;
  }

  /** Forget these. */
  async remove(places: readonly number[]): Promise<void> {
    for (const place of places) {
      this.#bytes -= this.#waiting.get(place)?.bytes ?? 0;
      this.#waiting.delete(place);
    }
  }

  /** Keep what was refused; the newest 1,000. */
  async reject(events: readonly RejectedEvent[]): Promise<void> {
    this.rejected.push(...events);
    this.rejected.splice(0, this.rejected.length - MAX_REJECTED);
  }

  /** Nothing is held open. */
  async close(): Promise<void> {}
}

/** Throws SpoolFullError where so many bytes are too many. */
export function checkRoom(bytes: number, maxBytes: number): void {
  if (bytes > maxBytes) {
    throw new SpoolFullError(`The spool may hold ${maxBytes} bytes, and is full: this usage is not kept.`);
  }
}
