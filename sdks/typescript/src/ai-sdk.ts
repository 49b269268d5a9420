/** Metering of language models for the AI SDK (`ai` 6): credit is set aside for each call, and what it used is charged. */

import type { LanguageModelMiddleware } from "ai";
import type { QuotaStack } from "./client.js";
import { isUnanswered } from "./errors.js";
import type { Reservation } from "./reservations.js";
import { SETTLE_SECONDS, settle } from "./settling.js";
import { type TokenFeatures, type TokenPools, usageEvents } from "./token-usage.js";
import { newKey } from "./transport.js";

type Stream = Parameters<NonNullable<LanguageModelMiddleware["wrapStream"]>>[0];
type Part = Awaited<ReturnType<Stream["doStream"]>>["stream"] extends ReadableStream<infer One> ? One : never;
type Params = Stream["params"];
type ModelUsage = Extract<Part, { type: "finish" }>["usage"];

/** What is metered, and of whom. */
export interface MeteredModelOptions {
  /** Your own id of the user. */
  user: string;
  /** The features that tokens are usage of, as `usageEvents` takes them. Credit is set aside for `output`. */
  features: TokenFeatures & { output: string };
  /** Output tokens to set credit aside for where a call has no `maxOutputTokens`: 4,096. More may be used: it is charged. */
  mostOutputTokens?: number;
  /** For how long credit is set aside without a sign of life from the model: 60. */
  ttl_seconds?: number;
  /** Whether a call goes on (`open`) where nobody can be asked to set credit aside: `closed`. Its usage is kept then. */
  failMode?: "open" | "closed";
  /** For how many seconds a charge that nobody answers is sent again in the background: 600. */
  settle_seconds?: number;
  /** Told of usage that could not be charged; else it is a warning on the console. */
  onError?: (error: unknown) => void;
}

const MOST_OUTPUT_TOKENS = 4_096;
const TTL_SECONDS = 60;
/** About so many make a token, where a stream ends before the provider has counted. */
const CHARACTERS_PER_TOKEN = 4;

/**
 * A middleware for `wrapLanguageModel`. Before each call of the model it reserves, and throws what `reserve` throws
 * (`InsufficientCreditsError`, …) where that is refused; while a stream flows the reservation is extended; whatever ends
 * the call, what the provider counted is charged. A stream that ends before that is charged by the length of the prompt and of
 * what came.
 */
export function meteredModel(quotastack: QuotaStack, options: MeteredModelOptions): LanguageModelMiddleware {
  return {
    specificationVersion: "v3",
    async wrapGenerate({ doGenerate, params }) {
      const meter = await Meter.open(quotastack, options, params);
      try {
        const result = await doGenerate();
        meter.usage = result.usage;
        return result;
      } finally {
        await meter.end();
      }
    },
    async wrapStream({ doStream, params }) {
      const meter = await Meter.open(quotastack, options, params);
      try {
        const result = await doStream();
        return { ...result, stream: watched(result.stream, meter) };
      } catch (error) {
        await meter.end();
        throw error;
      }
    },
  };
}

/** The same stream, which tells the meter what comes by. It closes once everything is charged. */
function watched(stream: ReadableStream<Part>, meter: Meter): ReadableStream<Part> {
  const reader = stream.getReader();
  return new ReadableStream<Part>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) {
          meter.see(value);
          controller.enqueue(value);
          return;
        }
      } catch (error) {
        await meter.end();
        throw error;
      }
      await meter.end();
      controller.close();
    },
    async cancel(reason) {
      await Promise.allSettled([reader.cancel(reason), meter.end()]);
    },
  });
}

/** The length of a prompt's text; what else is in it nobody here can count. */
function charactersOf(prompt: Params["prompt"]): number {
  const texts = prompt.flatMap(({ content }) =>
    typeof content === "string" ? [content] : content.map((part) => ("text" in part ? part.text : "")),
  );
  return texts.reduce((sum, text) => sum + text.length, 0);
}

/** One call of a model. */
class Meter {
  /** What the provider counted, once it has. */
  usage: ModelUsage | null = null;
  readonly #quotastack: QuotaStack;
  readonly #options: MeteredModelOptions;
  readonly #reservation: Reservation | null;
  readonly #key: string;
  /** Of the prompt. */
  readonly #asked: number;
  /** Of what came. */
  #characters = 0;
  #extendedAt = performance.now();
  #extending: Promise<unknown> = Promise.resolve();
  #ending: Promise<void> | null = null;

  private constructor(
    quotastack: QuotaStack,
    options: MeteredModelOptions,
    reservation: Reservation | null,
    key: string,
    asked: number,
  ) {
    this.#quotastack = quotastack;
    this.#options = options;
    this.#reservation = reservation;
    this.#key = key;
    this.#asked = asked;
  }

  static async open(quotastack: QuotaStack, options: MeteredModelOptions, params: Params): Promise<Meter> {
    const [key, asked] = [newKey(), charactersOf(params.prompt)];
    const terms = {
      feature_key: options.features.output,
      units: params.maxOutputTokens ?? options.mostOutputTokens ?? MOST_OUTPUT_TOKENS,
      ttl_seconds: options.ttl_seconds ?? TTL_SECONDS,
      idempotency_key: key,
    };
    try {
      return new Meter(quotastack, options, await quotastack.reserve(options.user, terms), key, asked);
    } catch (error) {
      if (options.failMode !== "open" || !isUnanswered(error)) throw error;
      return new Meter(quotastack, options, null, key, asked);
    }
  }

  /** Note a part of the stream. */
  see(part: Part): void {
    if (part.type === "finish") this.usage = part.usage;
    else if ("delta" in part) this.#characters += part.delta.length;
    const ttl_seconds = this.#options.ttl_seconds ?? TTL_SECONDS;
    if (this.#reservation === null || performance.now() - this.#extendedAt < (ttl_seconds * 1000) / 3) return;
    this.#extendedAt = performance.now();
    this.#extending = this.#reservation.extend({ ttl_seconds }).catch((error) => this.#failed(error));
  }

  /** Charge what was used, once. Never throws: the model's answer is not to be lost for it. */
  end(): Promise<void> {
    this.#ending ??= this.#charge();
    return this.#ending;
  }

  async #charge(): Promise<void> {
    await this.#extending;
    const events = usageEvents(this.#pools(), { features: this.#options.features }, this.#key);
    const reserved = this.#reservation;
    const others = events.filter(
      ({ feature_key }) => reserved === null || feature_key !== this.#options.features.output,
    );
    const held = events.find((event) => !others.includes(event))?.units ?? 0;
    const done = await Promise.allSettled([
      held > 0 ? this.#commit(held) : reserved?.release(),
      this.#record(others.map((event) => ({ ...event, end_user_id: this.#options.user }))),
    ]);
    for (const each of done) if (each.status === "rejected") this.#failed(each.reason);
  }

  async #commit(units: number): Promise<void> {
    if (this.#reservation === null) return;
    const seconds = this.#options.settle_seconds ?? SETTLE_SECONDS;
    await settle(this.#reservation, { units }, seconds, (error) => this.#failed(error));
  }

  async #record(usages: Parameters<QuotaStack["recordUsageBatch"]>[0]): Promise<void> {
    if (usages.length === 0) return;
    const { results } = await this.#quotastack.recordUsageBatch(usages);
    const refused = results.find(({ status }) => status !== "accepted");
    if (refused) throw new Error(`Usage of a model was refused: ${refused.code}. ${refused.detail}`);
  }

  #pools(): TokenPools {
    const { inputTokens, outputTokens } = this.usage ?? {};
    const [cached, written] = [inputTokens?.cacheRead ?? 0, inputTokens?.cacheWrite ?? 0];
    const reasoning = outputTokens?.reasoning ?? 0;
    const text = outputTokens?.text ?? Math.ceil(this.#characters / CHARACTERS_PER_TOKEN);
    // Whatever came was an answer to the whole prompt.
    const prompt = this.#characters > 0 ? Math.ceil(this.#asked / CHARACTERS_PER_TOKEN) : 0;
    return {
      input: inputTokens?.noCache ?? Math.max(0, (inputTokens?.total ?? prompt) - cached - written),
      cached_input: cached,
      cache_write: written,
      output: outputTokens?.total === undefined ? text : Math.max(0, outputTokens.total - reasoning),
      reasoning,
    };
  }

  #failed(error: unknown): void {
    if (this.#options.onError) this.#options.onError(error);
    else console.warn("quotastack: usage of a model could not be charged:", error);
  }
}
