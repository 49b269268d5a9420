/** May this user do this? With an answer in any case, where the server has none. */

import { PASSING_CODES } from "./backoff.js";
import { CheckCache } from "./check-cache.js";
import { isUnanswered } from "./errors.js";
import type { CheckSettings } from "./settings.js";
import type { Transport } from "./transport.js";
import type { Entitlements, Schema, Source } from "./types.js";

type Live = Schema<"CheckAnswer">;

/** What a check may ask besides user and feature. */
export interface CheckOptions {
  /** 1 unless given; 0: any access at all? */
  units?: number;
  /** As the usage would have them. */
  properties?: Record<string, unknown>;
}

/** One question of many. */
export interface Question extends CheckOptions {
  end_user_id: string;
  feature_key: string;
}

/** Whether `units` more may be used now, and why not. Where `source` is `fallback`, nothing else is known. */
export interface Check {
  allowed: boolean;
  /** What can be spent now. */
  balance: number | null;
  feature_key: string;
  units: number;
  cost: number | null;
  reserved: number | null;
  /** The first reason that applies; `unavailable` where nobody could be asked; null where it is allowed. */
  reason: Live["reason"] | "unavailable" | (string & {});
  overage_policy: Live["overage_policy"];
  subscription_status: string | null;
  value: unknown;
  limit: number | null;
  used: number | null;
  resets_at: string | null;
  version: number | null;
  source: Source;
}

const MAX_BATCH_CHECKS = 100;

/** What asks for a client. */
export class Checker {
  readonly #transport: Transport;
  readonly #settings: CheckSettings;
  readonly #cache = new CheckCache();

  constructor(transport: Transport, settings: CheckSettings) {
    this.#transport = transport;
    this.#settings = settings;
  }

  /** One question. */
  async check(question: Question): Promise<Check> {
    const { end_user_id, feature_key, units, properties } = question;
    try {
      const answer = await this.#transport.send<Live>({
        method: "GET",
        path: "/v1/entitlements/check",
        on: "edge",
        query: { end_user_id, feature_key, units, properties: properties && JSON.stringify(properties) },
        isAnswer: ({ allowed }) => typeof allowed === "boolean",
        ...this.#pace,
      });
      return this.#live(question, answer);
    } catch (error) {
      if (!isUnanswered(error)) throw error;
      return this.#fallback(question);
    }
  }

  /** Many questions, 100 to a request; one answer each, in order. */
  async checkMany(questions: readonly Question[]): Promise<Check[]> {
    const batches: Promise<Check[]>[] = [];
    for (let start = 0; start < questions.length; start += MAX_BATCH_CHECKS) {
      batches.push(this.#checkBatch(questions.slice(start, start + MAX_BATCH_CHECKS)));
    }
    return (await Promise.all(batches)).flat();
  }

  /** Every feature of a user. */
  async list(user: string): Promise<Entitlements> {
    return this.#transport.send<Entitlements>({
      method: "GET",
      path: "/v1/entitlements",
      on: "edge",
      query: { end_user_id: user },
      isAnswer: ({ features }) => typeof features === "object",
      ...this.#pace,
    });
  }

  get #pace() {
    return checkPace(this.#settings);
  }

  async #checkBatch(questions: readonly Question[]): Promise<Check[]> {
    try {
      const { results } = await this.#transport.send<{ results: Schema<"CheckResult">[] }>({
        method: "POST",
        path: "/v1/entitlements/check",
        on: "edge",
        body: { checks: questions },
        isAnswer: ({ results }) => results?.length === questions.length,
        ...this.#pace,
      });
      return questions.map((question, index) => this.#read(question, results[index]));
    } catch (error) {
      if (!isUnanswered(error)) throw error;
      return questions.map((question) => this.#fallback(question));
    }
  }

  #read(question: Question, result: Schema<"CheckResult"> | undefined): Check {
    if (result !== undefined && result.allowed !== null) return this.#live(question, result as Live);
    const code = result?.code ?? "internal_error";
    return PASSING_CODES.has(code) ? this.#fallback(question) : unknown(question, false, code, "live");
  }

  #live(question: Question, answer: Live): Check {
    const live: Check = { ...answer, source: "live" };
    if (typeof this.#modeOf(question) === "object") this.#cache.put(question, live, performance.now());
    return live;
  }

  #modeOf(question: Question) {
    const { featureFailModes, failMode } = this.#settings;
    const { feature_key } = question;
    return Object.hasOwn(featureFailModes, feature_key) ? featureFailModes[feature_key] : failMode;
  }

  #fallback(question: Question): Check {
    const mode = this.#modeOf(question);
    if (typeof mode === "object") {
      const last = this.#cache.get(question, mode.maxAge, performance.now());
      if (last !== null) return { ...last, source: "cache" };
    }
    const isOpen = (typeof mode === "object" ? mode.otherwise : mode) === "open";
    return unknown(question, isOpen, isOpen ? null : "unavailable", "fallback");
  }
}

/** How checks are asked: whoever waits for one waits no longer for a `Retry-After` than for an answer. */
export function checkPace({ timeout, attempts }: Pick<CheckSettings, "timeout" | "attempts">) {
  return { timeout, attempts, maxWait: timeout };
}

function unknown(question: Question, allowed: boolean, reason: Check["reason"], source: Source): Check {
  return {
    allowed,
    balance: null,
    feature_key: question.feature_key,
    units: question.units ?? 1,
    cost: null,
    reserved: null,
    reason,
    overage_policy: null,
    subscription_status: null,
    value: null,
    limit: null,
    used: null,
    resets_at: null,
    version: null,
    source,
  };
}
