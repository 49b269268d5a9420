/** Requests, with their retries: one call here is one answer or one error. */

import { nextWait, readRetryAfter } from "./backoff.js";
import { errorClass, QuotaStackError, UNEXPECTED, UnreachableError } from "./errors.js";
import type { Target } from "./settings.js";
import type { ErrorCode, Problem } from "./types.js";
import { VERSION } from "./version.js";

/** Methods of the API. */
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** Values of a query; what is undefined or null is left out. */
export type Query = Record<string, string | number | boolean | null | undefined>;

/** One thing that is asked of the API. */
export interface Call<Answer = unknown> {
  method: Method;
  /** As in the API's documentation, with its names filled in: `path` does that. */
  path: string;
  on: "core" | "edge";
  query?: Query;
  body?: unknown;
  idempotencyKey?: string;
  /** Instead of the client's. */
  timeout?: number;
  attempts?: number;
  maxWait?: number;
  /** Milliseconds for all attempts and the waits between them. */
  within?: number;
  /** Whether an answer has what it must have: what has not comes from some proxy, and is no answer. */
  isAnswer?: (answer: Partial<Answer>) => boolean;
}

/** A new idempotency key. */
export function newKey(): string {
  return crypto.randomUUID();
}

/** Throws TypeError where an amount is no number: JSON would turn it into null, which is another thing to say. */
export function checkAmount(name: string, amount: number | undefined): void {
  if (amount !== undefined && !Number.isFinite(amount))
    throw new TypeError(`\`${name}\` must be a number; it is ${amount}.`);
}

/** A path with the values in it, each escaped. Throws TypeError for the two that no path can hold. */
export function path(parts: TemplateStringsArray, ...values: string[]): string {
  return parts.reduce((whole, part, index) => whole + segment(values[index - 1] ?? "") + part);
}

function segment(value: string): string {
  // However they are escaped, `fetch` takes these two for steps within the path, and asks for something else.
  if (value === "" || value === "." || value === "..") throw new TypeError(`'${value}' cannot stand in a path.`);
  return encodeURIComponent(value);
}

/** Sends calls to the two addresses. Holds the key, and shows it to nobody. */
export class Transport {
  readonly #target: Target;

  constructor(target: Target) {
    this.#target = target;
  }

  /** The answer's body, null where it has none. Throws QuotaStackError. */
  async send<Answer>(call: Call<Answer>): Promise<Answer> {
    const { attempts, maxWait } = this.#target;
    const policy = { attempts: call.attempts ?? attempts, maxWait: call.maxWait ?? maxWait };
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const ends = performance.now() + (call.within ?? Number.POSITIVE_INFINITY);
    for (let retries = 0; ; retries += 1) {
      const timeout = Math.min(call.timeout ?? this.#target.timeout, Math.max(1, ends - performance.now()));
      const answer = await this.#attempt(call, body, Math.ceil(timeout));
      if (!(answer instanceof QuotaStackError)) return answer.body as Answer;
      const wait = nextWait(answer, retries, policy, Math.random());
      if (wait === null || performance.now() + wait >= ends) throw answer;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  async #attempt<Answer>(
    call: Call<Answer>,
    body: string | undefined,
    timeout: number,
  ): Promise<{ body: unknown } | QuotaStackError> {
    const { fetch } = this.#target;
    const control = new AbortController();
    const timer = setTimeout(() => control.abort(), timeout);
    try {
      const response = await fetch(this.#address(call), {
        method: call.method,
        headers: this.#headers(call, body),
        // An answer is where it was asked for: whatever sends elsewhere is not the API.
        redirect: "manual",
        signal: control.signal,
        body,
      });
      return readAnswer(response, await response.text(), call.isAnswer);
    } catch (error) {
      const base = this.#base(call);
      const detail = control.signal.aborted
        ? `No answer from ${base} within ${timeout} ms.`
        : `No answer from ${base}.`;
      return new UnreachableError({ status: null, code: "unreachable", detail }, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  #base(call: Pick<Call, "on">): string {
    return call.on === "edge" ? this.#target.edgeUrl : this.#target.url;
  }

  #address(call: Pick<Call, "on" | "path" | "query">): string {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined && value !== null) query.append(name, String(value));
    }
    const asked = query.toString();
    return `${this.#base(call)}${call.path}${asked && `?${asked}`}`;
  }

  #headers(call: Pick<Call, "idempotencyKey">, body: string | undefined): Record<string, string> {
    const headers: Record<string, string> = {
      Accept: "application/json",
      Authorization: `Bearer ${this.#target.apiKey}`,
      "User-Agent": `quotastack-typescript/${VERSION}`,
    };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (call.idempotencyKey !== undefined) headers["Idempotency-Key"] = call.idempotencyKey;
    return headers;
  }
}

function readAnswer<Answer>(
  response: Response,
  text: string,
  isAnswer: Call<Answer>["isAnswer"],
): { body: unknown } | QuotaStackError {
  const body = text === "" ? null : parse(text);
  const members: object = typeof body === "object" && body !== null ? body : {};
  if (response.ok && body !== undefined && (isAnswer?.(members) ?? true)) return { body };
  const problem: Partial<Problem> = response.ok || !isProblem(members) ? {} : members;
  const code: ErrorCode = problem.code ?? UNEXPECTED;
  return new (errorClass(response.status, code))({
    status: response.status,
    code,
    detail: problem.detail ?? `An answer of status ${response.status} that is not the API's.`,
    requestId: response.headers.get("X-Request-Id") ?? problem.instance ?? null,
    errors: problem.errors ?? [],
    mismatch: problem.mismatch ?? [],
    context: problem.context ?? {},
    retryAfter: readRetryAfter(response.headers.get("Retry-After"), Date.now()),
  });
}

function isProblem(members: Partial<Problem>): boolean {
  return typeof members.code === "string" && typeof members.detail === "string";
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a page of some proxy: an error of its own, with the status
  }
}
