/** The last live answers to checks, for when there is none. */

import type { Check, Question } from "./checks.js";

const MAX_ANSWERS = 10_000;

/** At most 10,000 answers; the one that was used least lately makes way. */
export class CheckCache {
  readonly #answers = new Map<string, { answer: Check; at: number }>();

  /** Remember an answer. `now` in milliseconds of a clock that never goes back. */
  put(question: Question, answer: Check, now: number): void {
    const key = keyOf(question);
    this.#answers.delete(key);
    this.#answers.set(key, { answer, at: now });
    if (this.#answers.size > MAX_ANSWERS) {
      for (const oldest of this.#answers.keys()) {
        this.#answers.delete(oldest);
        break;
      }
    }
  }

  /** The answer to the same question, if it is not older than `maxAge` milliseconds. */
  get(question: Question, maxAge: number, now: number): Check | null {
    const key = keyOf(question);
    const found = this.#answers.get(key);
    if (found === undefined) return null;
    this.#answers.delete(key);
    this.#answers.set(key, found);
    return now - found.at <= maxAge ? found.answer : null;
  }
}

function keyOf({ end_user_id, feature_key, units, properties }: Question): string {
  const sorted = Object.entries(properties ?? {}).sort(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify([end_user_id, feature_key, units ?? 1, sorted]);
}
