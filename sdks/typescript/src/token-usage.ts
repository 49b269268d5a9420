/** What model providers say of the tokens of a call, as pools of which none overlaps another. */

/** Where tokens are counted: each in one pool. Their sum is all tokens that the provider counts. */
export interface TokenPools {
  /** Read by the model, neither from a cache nor into one. */
  input: number;
  /** Read from a cache. */
  cached_input: number;
  /** Read, and written to a cache. */
  cache_write: number;
  /** Answered, without what was only thought. */
  output: number;
  /** Thought, where the provider says how much of the output that was. */
  reasoning: number;
}

/** The name of a pool. */
export type TokenPool = keyof TokenPools;

/**
 * The features that the tokens of pools are usage of. Without one of its own, `cached_input` and `cache_write` count as
 * `input`, and `reasoning` as `output`; what has no feature then costs nothing.
 */
export type TokenFeatures = Partial<Record<TokenPool, string>>;

/** Usage of one feature under the key of the call. */
export interface TokenEvent {
  feature_key: string;
  units: number;
  idempotency_key: string;
}

const POOLS: readonly TokenPool[] = ["input", "cached_input", "cache_write", "output", "reasoning"];
const PART_OF: Record<TokenPool, TokenPool> = {
  input: "input",
  cached_input: "input",
  cache_write: "input",
  output: "output",
  reasoning: "output",
};

/**
 * The pools of a `usage` object of OpenAI (chat completions, responses), Anthropic (messages) or Gemini
 * (generateContent). Throws TypeError where it is none of them.
 */
export function tokenUsage(usage: object): TokenPools {
  const said = new Said(usage);
  if (said.has("promptTokenCount", "candidatesTokenCount", "totalTokenCount")) return geminiPools(said);
  if (said.has("prompt_tokens", "completion_tokens")) {
    return openaiPools(said, "prompt", "completion");
  }
  if (said.has("input_tokens", "output_tokens")) {
    return said.has("input_tokens_details", "output_tokens_details")
      ? openaiPools(said, "input", "output")
      : anthropicPools(said);
  }
  throw new TypeError("This is no usage of OpenAI, Anthropic or Gemini: none of their counts is in it.");
}

/**
 * One event for each feature whose pools have tokens, all under one key, which is unique per feature. Throws TypeError where
 * `features` names a pool that there is not.
 */
export function usageEvents(pools: TokenPools, { features }: { features: TokenFeatures }, key: string): TokenEvent[] {
  const unknown = Object.keys(features).filter((name) => !POOLS.includes(name as TokenPool));
  if (unknown.length > 0) throw new TypeError(`${unknown.join(", ")}: no pool of tokens.`);
  const units = new Map<string, number>();
  for (const pool of POOLS) {
    const feature = features[pool] || features[PART_OF[pool]];
    if (feature && pools[pool] > 0) units.set(feature, (units.get(feature) ?? 0) + pools[pool]);
  }
  return [...units].map(([feature_key, sum]) => ({ feature_key, units: sum, idempotency_key: key }));
}

/** Cached tokens are part of the prompt's, reasoning is part of the completion's. */
function openaiPools(said: Said, input: string, output: string): TokenPools {
  const read = said.count(`${input}_tokens`);
  const answered = said.count(`${output}_tokens`);
  const cached = Math.min(read, said.inner(`${input}_tokens_details`).count("cached_tokens"));
  const thought = Math.min(answered, said.inner(`${output}_tokens_details`).count("reasoning_tokens"));
  return { input: read - cached, cached_input: cached, cache_write: 0, output: answered - thought, reasoning: thought };
}

/** The three counts of input stand beside each other; thinking is in the output. */
function anthropicPools(said: Said): TokenPools {
  return {
    input: said.count("input_tokens"),
    cached_input: said.count("cache_read_input_tokens"),
    cache_write: said.count("cache_creation_input_tokens"),
    output: said.count("output_tokens"),
    reasoning: 0,
  };
}

/** Cached tokens are part of the prompt's; those of tools and of thoughts stand beside prompt and candidates. */
function geminiPools(said: Said): TokenPools {
  const prompt = said.count("promptTokenCount");
  const cached = Math.min(prompt, said.count("cachedContentTokenCount"));
  return {
    input: prompt - cached + said.count("toolUsePromptTokenCount"),
    cached_input: cached,
    cache_write: 0,
    output: said.count("candidatesTokenCount"),
    reasoning: said.count("thoughtsTokenCount"),
  };
}

/** An object of counts, read with care: it comes from elsewhere. */
class Said {
  readonly #members: Record<string, unknown>;

  constructor(members: object) {
    this.#members = members as Record<string, unknown>;
  }

  has(...names: string[]): boolean {
    return names.some((name) => this.#members[name] !== undefined && this.#members[name] !== null);
  }

  count(name: string): number {
    const value = this.#members[name] ?? 0;
    if (!Number.isSafeInteger(value) || (value as number) < 0) {
      throw new TypeError(`'${name}' must be a whole number of tokens; it is ${JSON.stringify(value)}.`);
    }
    return value as number;
  }

  inner(name: string): Said {
    const value = this.#members[name];
    return new Said(typeof value === "object" && value !== null ? value : {});
  }
}
