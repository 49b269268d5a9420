/** Webhooks as Standard Webhooks signs them: whether they are ours, and new. */

import { WebhookVerificationError } from "./errors.js";

/** What a webhook says. */
export interface WebhookEvent {
  /** Such as `credits.low`; docs/webhooks.md lists them. */
  type: string;
  /** When it happened (RFC 3339). */
  timestamp: string;
  /** null: it concerns no customer. */
  end_user_id: string | null;
  /** Counts the events of a customer from 1, without a gap. */
  sequence: number;
  data: Record<string, unknown>;
}

/** Headers as a server has them: those of `fetch`, or an object as Node's and Express's requests have it. */
export type WebhookHeaders =
  | { get(name: string): string | null }
  | Record<string, string | readonly string[] | undefined>;

/** How verification may be done otherwise. */
export interface WebhookOptions {
  /** Seconds that the timestamp may be away from `now`, in either direction: 300. */
  tolerance?: number;
  /** Instead of the clock. */
  now?: Date;
}

const DEFAULT_TOLERANCE_SECONDS = 300;
const VERSION = "v1,";

/**
 * The event, where the signature is good and the timestamp is near. Throws WebhookVerificationError.
 *
 * `body` are the bytes as they came (a body that was parsed and printed again has others). `secrets` are one or, while
 * one is rotated, several; one has to fit.
 */
export async function verifyWebhook(
  body: string | Uint8Array | ArrayBuffer,
  headers: WebhookHeaders,
  secrets: string | readonly string[],
  options: WebhookOptions = {},
): Promise<WebhookEvent> {
  const id = readHeader(headers, "webhook-id");
  const timestamp = readHeader(headers, "webhook-timestamp");
  const signatures = readSignatures(readHeader(headers, "webhook-signature"));
  checkTime(timestamp, options);
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : new Uint8Array(body);
  const signed = join(new TextEncoder().encode(`${id}.${timestamp}.`), bytes);
  for (const secret of typeof secrets === "string" ? [secrets] : secrets) {
    if (await isSigned(signed, secret, signatures)) return readEvent(bytes);
  }
  throw new WebhookVerificationError("No signature is of one of these secrets.");
}

function readHeader(headers: WebhookHeaders, name: string): string {
  const value = isGetter(headers) ? headers.get(name) : findHeader(headers, name);
  if (typeof value !== "string" || value === "") {
    throw new WebhookVerificationError(`The header ${name} is missing, or came more than once.`);
  }
  return value;
}

function isGetter(headers: WebhookHeaders): headers is { get(name: string): string | null } {
  return typeof headers.get === "function";
}

function findHeader(headers: Record<string, string | readonly string[] | undefined>, name: string): unknown {
  const found = Object.keys(headers).find((each) => each.toLowerCase() === name);
  return found === undefined ? undefined : headers[found];
}

function checkTime(timestamp: string, options: WebhookOptions): void {
  const tolerance = options.tolerance ?? DEFAULT_TOLERANCE_SECONDS;
  const now = Math.floor((options.now ?? new Date()).getTime() / 1000);
  if (!/^\d+$/.test(timestamp)) throw new WebhookVerificationError("webhook-timestamp is no number of seconds.");
  const age = now - Number(timestamp);
  if (Math.abs(age) > tolerance) {
    const where = age > 0 ? "old" : "ahead of this clock";
    throw new WebhookVerificationError(`The webhook is ${Math.abs(age)} seconds ${where}; ${tolerance} are allowed.`);
  }
}

function readSignatures(header: string): Uint8Array<ArrayBuffer>[] {
  return header.split(" ").flatMap((word) => {
    const bytes = word.startsWith(VERSION) ? decodeBase64(word.slice(VERSION.length)) : null;
    return bytes === null ? [] : [bytes];
  });
}

/** WebCrypto compares in constant time. */
async function isSigned(
  signed: Uint8Array<ArrayBuffer>,
  secret: string,
  signatures: readonly Uint8Array<ArrayBuffer>[],
): Promise<boolean> {
  const bytes = decodeBase64(secret.replace(/^whsec_/, ""));
  if (bytes === null || bytes.length === 0) throw new TypeError("A webhook's secret is `whsec_` and base64.");
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  for (const signature of signatures) {
    if (await crypto.subtle.verify("HMAC", key, signature, signed)) return true;
  }
  return false;
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    return null; // no base64, so no signature
  }
}

function join(head: Uint8Array, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(head.length + body.length);
  whole.set(head);
  whole.set(body, head.length);
  return whole;
}

function readEvent(bytes: Uint8Array): WebhookEvent {
  const text = new TextDecoder().decode(bytes);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new WebhookVerificationError("The webhook is signed, and its body is no JSON.", { cause: error });
  }
}
