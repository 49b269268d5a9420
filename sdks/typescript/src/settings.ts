/** What a client is made with, and what is taken where something is not said. */

import { type FailMode, MODES_OF_FAILURE } from "./fail-mode.js";
import type { RejectedEvent, Spool } from "./spool.js";

/** The form of `fetch`. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Options of a client. Times are milliseconds. */
export interface QuotaStackOptions {
  /** `qs_test_…` or `qs_live_…`; else `QUOTASTACK_KEY` of the environment. */
  apiKey?: string;
  /** Core's address; else `QUOTASTACK_URL`. */
  url?: string;
  /** The edge's address, for the hot routes; else `QUOTASTACK_EDGE_URL`, else `url`: core hands them on. */
  edgeUrl?: string;
  /** How long one attempt may take: 10,000. */
  timeout?: number;
  /** How long usage that can be kept is tried in all, before it is kept: 10,000. While an outage is known of, 2,000 at most. */
  usageTimeout?: number;
  /** How long one attempt of a check may take: 2,000. */
  checkTimeout?: number;
  /** Attempts in all: 4. */
  attempts?: number;
  /** Attempts in all of a check: 2, for somebody is waiting; fewer where `attempts` is. */
  checkAttempts?: number;
  /** The longest `Retry-After` that is waited for: 30,000. */
  maxWait?: number;
  /** What a check answers when there is no live answer: `"closed"`. */
  failMode?: FailMode;
  /** The same for single features, by their keys. */
  featureFailModes?: Record<string, FailMode>;
  /** Where usage is kept that cannot be delivered: in memory. `FileSpool` of `quotastack/node` survives the process. */
  spool?: Spool;
  /** How long buffered usage waits for more, at most: 1,000. */
  flushInterval?: number;
  /** How many buffered events may wait: 10,000. */
  maxBuffered?: number;
  /** How soon the spool is tried again; doubled up to `maxDrainInterval`: 1,000. */
  drainInterval?: number;
  /** How seldom the spool is tried again at most: 30,000. */
  maxDrainInterval?: number;
  /** Told of usage that was accepted here and refused by the API. It is kept in the spool's `rejected`. */
  onRejected?: (rejected: RejectedEvent) => void;
  /** Told of what goes wrong in the background, once per outage; else it is a warning on the console. */
  onError?: (error: unknown) => void;
  /** Instead of the global `fetch`. */
  fetch?: Fetch;
}

/** Where requests go, and how. */
export interface Target {
  apiKey: string;
  url: string;
  edgeUrl: string;
  fetch: Fetch;
  timeout: number;
  attempts: number;
  maxWait: number;
}

/** How checks are asked, and answered without an answer. */
export interface CheckSettings {
  timeout: number;
  attempts: number;
  failMode: FailMode;
  featureFailModes: Record<string, FailMode>;
}

/** How usage is delivered in the background. */
export interface DeliverySettings {
  usageTimeout: number;
  /** `test`, `live`, or `other`: what is kept for one kind of environment never goes to another. */
  kind: string;
  spool: Spool | null;
  flushInterval: number;
  maxBuffered: number;
  drainInterval: number;
  maxDrainInterval: number;
  onRejected: (rejected: RejectedEvent) => void;
  onError: (error: unknown) => void;
}

/** Read where requests go. Throws TypeError, which never shows the key. */
export function readTarget(options: QuotaStackOptions): Target {
  const apiKey = options.apiKey ?? fromEnvironment("QUOTASTACK_KEY");
  if (!apiKey) throw new TypeError("An API key is needed: give `apiKey`, or set QUOTASTACK_KEY.");
  if (!/^[\x21-\x7e]+$/.test(apiKey)) throw new TypeError("`apiKey` has characters that no API key has.");
  const url = options.url ?? fromEnvironment("QUOTASTACK_URL");
  if (!url) throw new TypeError("An address is needed: give `url`, or set QUOTASTACK_URL.");
  const edgeUrl = options.edgeUrl ?? (options.url ? undefined : fromEnvironment("QUOTASTACK_EDGE_URL"));
  return {
    apiKey,
    url: readAddress("url", url),
    edgeUrl: readAddress("edgeUrl", edgeUrl || url),
    // Called as a plain function: some runtimes refuse `fetch` as a method of something else.
    fetch: options.fetch ?? ((address, init) => fetch(address, init)),
    timeout: readNumber("timeout", options.timeout, 10_000, 1),
    attempts: readNumber("attempts", options.attempts, 4, 1),
    maxWait: readNumber("maxWait", options.maxWait, 30_000, 0),
  };
}

/** Read how checks are asked. */
export function readCheckSettings(options: QuotaStackOptions): CheckSettings {
  const featureFailModes = options.featureFailModes ?? {};
  const failMode = options.failMode ?? "closed";
  for (const mode of [failMode, ...Object.values(featureFailModes)]) {
    if (typeof mode === "string" && !MODES_OF_FAILURE.includes(mode)) throw new TypeError(`No fail mode is '${mode}'.`);
  }
  return {
    timeout: readNumber("checkTimeout", options.checkTimeout, 2_000, 1),
    attempts: readNumber("checkAttempts", options.checkAttempts, Math.min(2, options.attempts ?? 2), 1),
    failMode,
    featureFailModes,
  };
}

/** Read how usage is delivered. */
export function readDeliverySettings(options: QuotaStackOptions, { apiKey }: Target): DeliverySettings {
  if (typeof options.spool === "string") {
    throw new TypeError('A spool on disk is `new FileSpool(path)`, from "quotastack/node".');
  }
  return {
    kind: /^qs_(test|live)_/.exec(apiKey)?.[1] ?? "other",
    usageTimeout: readNumber("usageTimeout", options.usageTimeout, 10_000, 1),
    spool: options.spool ?? null,
    flushInterval: readNumber("flushInterval", options.flushInterval, 1_000, 1),
    maxBuffered: readNumber("maxBuffered", options.maxBuffered, 10_000, 1),
    drainInterval: readNumber("drainInterval", options.drainInterval, 1_000, 1),
    maxDrainInterval: readNumber("maxDrainInterval", options.maxDrainInterval, 30_000, 1),
    onRejected: options.onRejected ?? warnOfRejected,
    onError: options.onError ?? warnOfError,
  };
}

function warnOfRejected(rejected: RejectedEvent): void {
  const { end_user_id, feature_key, idempotency_key } = rejected.event;
  console.warn(
    `quotastack: usage of ${feature_key} by ${end_user_id} (key ${idempotency_key}) was refused: ${rejected.code}. ${rejected.detail}`,
  );
}

function warnOfError(error: unknown): void {
  console.warn(`quotastack: usage waits to be delivered: ${error instanceof Error ? error.message : String(error)}`);
}

function fromEnvironment(name: string): string | undefined {
  const host = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return host.process?.env?.[name];
}

function readAddress(name: string, value: string): string {
  const address = URL.canParse(value) ? new URL(value) : null;
  if (address === null || !/^https?:$/.test(address.protocol) || address.username || address.password) {
    throw new TypeError(`\`${name}\` must be an http or https address without a user's name in it.`);
  }
  return `${address.origin}${address.pathname.replace(/\/+$/, "")}`;
}

function readNumber(name: string, value: number | undefined, usual: number, least: number): number {
  if (value === undefined) return usual;
  if (!Number.isInteger(value) || value < least) {
    throw new TypeError(`\`${name}\` must be a whole number from ${least} on; it is ${value}.`);
  }
  return value;
}
