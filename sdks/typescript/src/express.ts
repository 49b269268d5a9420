/** One line of Express for a metered route: may they, do it, record it. */

import type { Request, RequestHandler, Response } from "express";
import type { Check } from "./checks.js";
import type { QuotaStack } from "./client.js";
import {
  InsufficientCreditsError,
  isUnanswered,
  LimitReachedError,
  NotEntitledError,
  QuotaStackError,
} from "./errors.js";
import type { Reservation } from "./reservations.js";
import { SETTLE_SECONDS, settle } from "./settling.js";
import { newKey } from "./transport.js";

/** A value, or what says it of a request. */
export type Of<Value> = Value | ((request: Request) => Value | Promise<Value>);

/** What is metered of a route. */
export interface MeteredOptions {
  /** Who uses it: your own id of the user. */
  user: (request: Request) => string | Promise<string>;
  /** The feature that it is usage of. */
  feature: Of<string>;
  /** How much is asked for before the handler runs: 1. */
  units?: Of<number>;
  /** How much is recorded after it: as much, unless this says otherwise. */
  used?: (request: Request, response: Response) => number | Promise<number>;
  /** What a price may depend on. */
  properties?: Of<Record<string, unknown>>;
  /**
   * Set the credit aside while the handler runs, instead of asking whether there is any: then requests that come at once
   * cannot spend it twice. Nothing is charged where the handler fails. No fail mode applies: it is a question of credit.
   */
  enforce?: boolean;
  /** With `enforce`, how many seconds the handler may take: 600. */
  ttl_seconds?: number;
  /**
   * Under which key a request is charged: a new one. Whoever names the same key twice pays once, so take the caller's
   * `Idempotency-Key` only where the handler does its work once for it, too.
   */
  idempotencyKey?: (request: Request) => string | undefined;
  /** With `enforce`, for how many seconds a charge that nobody answers is sent again after the answer has gone: 600. */
  settle_seconds?: number;
  /** Told where usage could not be recorded after the answer had gone; else it is a warning on the console. */
  onError?: (error: unknown, request: Request) => void;
}

interface Asked {
  user: string;
  feature_key: string;
  units: number;
  properties: Record<string, unknown> | undefined;
  idempotency_key: string;
}

/**
 * A middleware that lets a request through where its user may use the feature, and records the use once a response with a status
 * below 400 has been sent, or as much of it as its client stayed for. Where they may not, it answers 402 or 403, and 503 where
 * nobody could say (as the client's fail mode has it), with a problem document whose `code` is the reason.
 */
export function metered(quotastack: QuotaStack, options: MeteredOptions): RequestHandler {
  return (request, response, next) => {
    admit(quotastack, options, request, response).then((isAdmitted) => isAdmitted && next(), next);
  };
}

async function admit(
  quotastack: QuotaStack,
  options: MeteredOptions,
  request: Request,
  response: Response,
): Promise<boolean> {
  const asked = await read(options, request);
  const reservation = options.enforce ? await setAside(quotastack, options, asked, response) : null;
  if (options.enforce ? reservation === null : !(await check(quotastack, asked, response))) return false;
  if (response.destroyed) {
    await reservation?.release(); // its client has left meanwhile
    return false;
  }
  response.once("close", () => {
    const onFailed = (error: unknown) => {
      if (options.onError) options.onError(error, request);
      else console.warn("quotastack: usage could not be recorded:", error);
    };
    record(quotastack, options, asked, reservation, request, response, onFailed).catch(onFailed);
  });
  return true;
}

async function read(options: MeteredOptions, request: Request): Promise<Asked> {
  return {
    user: await options.user(request),
    feature_key: await resolved(options.feature, request),
    units: await resolved(options.units ?? 1, request),
    properties: await resolved(options.properties, request),
    idempotency_key: options.idempotencyKey?.(request) ?? newKey(),
  };
}

async function resolved<Value>(said: Of<Value>, request: Request): Promise<Value> {
  return typeof said === "function" ? (said as (request: Request) => Value | Promise<Value>)(request) : said;
}

// ---- before

async function check(quotastack: QuotaStack, asked: Asked, response: Response): Promise<boolean> {
  const { user, feature_key, units, properties } = asked;
  const answer = await quotastack.checkEntitlement(user, feature_key, { units, properties });
  if (answer.allowed) return true;
  const { balance, limit, used, resets_at } = answer;
  refuse(response, answer.reason ?? "feature_not_in_plan", { feature_key, balance, limit, used, resets_at });
  return false;
}

async function setAside(
  quotastack: QuotaStack,
  options: MeteredOptions,
  asked: Asked,
  response: Response,
): Promise<Reservation | null> {
  const { user, ...terms } = asked;
  try {
    return await quotastack.reserve(user, { ...terms, ttl_seconds: options.ttl_seconds });
  } catch (error) {
    const code = refusalOf(error);
    if (code === null) throw error;
    refuse(response, code, { feature_key: terms.feature_key, ...(error as QuotaStackError).context });
    return null;
  }
}

/** The code that the user of the application is answered with; null: it is no business of theirs. */
function refusalOf(error: unknown): string | null {
  if (isUnanswered(error)) return "unavailable";
  const isTheirs =
    error instanceof InsufficientCreditsError ||
    error instanceof LimitReachedError ||
    error instanceof NotEntitledError ||
    (error instanceof QuotaStackError && error.code === "unknown_customer");
  return isTheirs ? error.code : null;
}

const TITLES: Record<number, string> = { 402: "Payment required", 403: "Forbidden", 503: "Unavailable" };

function refuse(response: Response, code: NonNullable<Check["reason"]>, context: Record<string, unknown>): void {
  const status = statusOf(code);
  const problem = { type: "about:blank", title: TITLES[status], status, code, context };
  if (status === 503) response.set("Retry-After", "1");
  response.status(status).type("application/problem+json").send(JSON.stringify(problem));
}

function statusOf(code: string): number {
  if (code === "insufficient_credits" || code === "limit_reached") return 402;
  return code === "unavailable" ? 503 : 403;
}

// ---- after

/**
 * Record or charge what was used, where a response went out and is none of an error: also where its client did not stay to its
 * end, or everybody could leave before the last byte and pay nothing.
 */
async function record(
  quotastack: QuotaStack,
  options: MeteredOptions,
  asked: Asked,
  reservation: Reservation | null,
  request: Request,
  response: Response,
  onFailed: (error: unknown) => void,
): Promise<void> {
  if (!response.headersSent || response.statusCode >= 400) {
    await reservation?.release();
    return;
  }
  const { user, ...usage } = asked;
  const units = options.used ? await options.used(request, response) : asked.units;
  if (reservation !== null) await settle(reservation, { units }, options.settle_seconds ?? SETTLE_SECONDS, onFailed);
  else if (units > 0) await quotastack.recordUsage(user, { ...usage, units });
}
