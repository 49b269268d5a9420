/** What a check answers when there is no live answer. */

/** The last live answer for the same question, for as long as it is young enough. */
export interface CachedFailMode {
  readonly kind: "cached";
  /** Milliseconds. */
  readonly maxAge: number;
  /** What happens where there is none. */
  readonly otherwise: "open" | "closed";
}

/** `open` allows, `closed` does not, `cached(maxAge)` says what was last said. */
export type FailMode = "open" | "closed" | CachedFailMode;

/** Those that are plain words. */
export const MODES_OF_FAILURE: readonly string[] = ["open", "closed"];

/**
 * The last live answer for the same user, feature, units and properties, if it is not older than `maxAge` milliseconds;
 * else what `otherwise` says.
 */
export function cached(maxAge: number, otherwise: "open" | "closed" = "closed"): CachedFailMode {
  if (!(maxAge > 0) || !MODES_OF_FAILURE.includes(otherwise)) {
    throw new TypeError('cached(maxAge, otherwise) takes milliseconds above 0, and "open" or "closed".');
  }
  return { kind: "cached", maxAge, otherwise };
}
