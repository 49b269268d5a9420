/** Credit that is set aside for work whose cost is known only afterwards. */

import { isUndelivered } from "./errors.js";
import { checkAmount, newKey, path, type Transport } from "./transport.js";
import type { Keyed, ReservationEnded, Schema } from "./types.js";

/** What is to be set aside: `units` of a feature, or `credits`. */
export type ReserveTerms = Keyed & {
  feature_key: string;
  /** 600 unless given, at most 604,800. Nobody ends it: it expires, and everything comes back. */
  ttl_seconds?: number;
  properties?: Record<string, unknown>;
} & ({ units: number; credits?: never } | { credits: number; units?: never });

/** What was really used, in the measure that was reserved; neither: all of it. */
export interface Spent {
  units?: number;
  credits?: number;
}

/** A reservation and what can be done with it. Each call may be repeated: the reservation's id is its key. */
export class Reservation {
  readonly reservation_id: string;
  /** Credits that are set aside. */
  readonly reserved: number;
  /** What could be spent besides when it was opened. */
  readonly balance: number;
  /** When it expires (RFC 3339), as last said. */
  expires_at: string;
  /** As far as is known here. */
  state: Schema<"ReservationState"> = "open";
  /** What was used so far, in the measure that was reserved. `withReservation` commits it, whatever ends the work. */
  used: number | null = null;
  readonly #transport: Transport;
  readonly #measure: "units" | "credits";
  /** What was committed, as long as nobody has answered. It may have arrived: nothing else may be said behind it. */
  #unheard: Spent | null = null;

  constructor(transport: Transport, opened: Schema<"ReservationOpened">, measure: "units" | "credits") {
    this.#transport = transport;
    this.#measure = measure;
    this.reservation_id = opened.reservation_id;
    this.reserved = opened.reserved;
    this.balance = opened.balance;
    this.expires_at = opened.expires_at;
  }

  /** Charge what was used: more than was reserved, and 0, included. The rest comes back. */
  async commit(spent: Spent = {}): Promise<ReservationEnded> {
    checkAmount("units", spent.units);
    checkAmount("credits", spent.credits);
    this.#unheard = spent;
    try {
      const ended = await this.#end(path`/v1/reservations/${this.reservation_id}/commit`, spent);
      this.#unheard = null;
      return ended;
    } catch (error) {
      if (!isUndelivered(error)) this.#unheard = null;
      throw error;
    }
  }

  /** Charge nothing; everything comes back. */
  async release(): Promise<ReservationEnded> {
    return this.#end(path`/v1/reservations/${this.reservation_id}/release`, undefined);
  }

  /** Have it expire so many seconds from now; never earlier than before. */
  async extend(terms: { ttl_seconds?: number } = {}): Promise<Schema<"ReservationExtended">> {
    const extended = await this.#transport.send<Schema<"ReservationExtended">>({
      method: "POST",
      path: path`/v1/reservations/${this.reservation_id}/extend`,
      on: "edge",
      body: terms,
      isAnswer: ({ expires_at }) => typeof expires_at === "string",
    });
    this.expires_at = extended.expires_at;
    return extended;
  }

  /**
   * Commit what was last said to be used, release where nothing was; nothing where it has ended. A commit that nobody answered
   * is sent again, as it was.
   */
  async finish(): Promise<ReservationEnded | null> {
    if (this.state !== "open") return null;
    if (this.#unheard !== null) return this.commit(this.#unheard);
    return this.used === null ? this.release() : this.commit({ [this.#measure]: this.used });
  }

  async #end(where: string, body: Spent | undefined): Promise<ReservationEnded> {
    const ended = await this.#transport.send<ReservationEnded>({
      method: "POST",
      path: where,
      on: "edge",
      body,
      isAnswer: ({ state }) => typeof state === "string",
    });
    this.state = ended.state;
    return ended;
  }
}

/** Open a reservation. */
export async function reserve(transport: Transport, user: string, terms: ReserveTerms): Promise<Reservation> {
  checkAmount("units", terms.units);
  checkAmount("credits", terms.credits);
  const opened = await transport.send<Schema<"ReservationOpened">>({
    method: "POST",
    path: "/v1/reservations",
    on: "edge",
    body: { ...terms, end_user_id: user, idempotency_key: terms.idempotency_key ?? newKey() },
    isAnswer: ({ reservation_id }) => typeof reservation_id === "string",
  });
  return new Reservation(transport, opened, terms.units === undefined ? "credits" : "units");
}

/** Do work within a reservation, and end it whatever ends the work. */
export async function within<Result>(
  reservation: Reservation,
  work: (reservation: Reservation) => Result | Promise<Result>,
): Promise<Result> {
  let result: Result;
  try {
    result = await work(reservation);
  } catch (error) {
    await reservation.finish().catch((ending) => {
      throw new AggregateError([error, ending], "The work failed, and so did the end of its reservation.");
    });
    throw error;
  }
  await reservation.finish();
  return result;
}
