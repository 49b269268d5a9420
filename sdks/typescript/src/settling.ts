/** The end of a reservation whose work is done and answered: there is nobody left to hear that its commit failed. */

import { pause } from "./backoff.js";
import { isUndelivered } from "./errors.js";
import type { Reservation, Spent } from "./reservations.js";

/** For how long a commit that nobody answers is sent again. It is taken, once, after its reservation has expired, too. */
export const SETTLE_SECONDS = 600;

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Charge what was used. Throws where that is refused. Where nobody answers it goes on in the background, for so many seconds;
 * `onFailed` hears where it has come to nothing then.
 */
export async function settle(
  reservation: Reservation,
  spent: Spent,
  seconds: number,
  onFailed: (error: unknown) => void,
): Promise<void> {
  try {
    await reservation.commit(spent);
  } catch (error) {
    if (!isUndelivered(error)) throw error;
    void goOn(reservation, spent, performance.now() + seconds * 1000).catch(onFailed);
  }
}

async function goOn(reservation: Reservation, spent: Spent, end: number): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const wait = FIRST_PAUSE_MS / 2 + pause(tries, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, Math.random());
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, Math.min(wait, end - performance.now()))));
    try {
      await reservation.commit(spent);
      return;
    } catch (error) {
      if (!isUndelivered(error) || performance.now() >= end) throw error;
    }
  }
}
