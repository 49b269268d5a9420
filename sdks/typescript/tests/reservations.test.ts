/** Credit that is set aside, and ends as it should whatever ends the work. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConflictError, InsufficientCreditsError, UnreachableError } from "quotastack";
import { Obstacle } from "./support/proxy.js";
import { CREDITS, client, newUser, spent, subscribed, URL_OF_EDGE } from "./support/shop.js";

const quotastack = client();
const hundred = { feature_key: "api_calls", units: 100 };

describe("a reservation", () => {
  test("is opened, extended and committed: what was used is charged, the rest comes back", async () => {
    const user = await subscribed();
    const reservation = await quotastack.reserve(user, { ...hundred, ttl_seconds: 60 });
    assert.deepEqual([reservation.reserved, reservation.balance, reservation.state], [100, CREDITS - 100, "open"]);
    const before = reservation.expires_at;
    await reservation.extend({ ttl_seconds: 120 });
    assert(reservation.expires_at > before);
    const ended = await reservation.commit({ units: 70 });
    assert.deepEqual([ended.charged, ended.released, reservation.state], [70, 30, "committed"]);
    assert.deepEqual(await reservation.commit({ units: 70 }), ended);
    await assert.rejects(reservation.release(), (error) => error instanceof ConflictError);
    assert.equal(await spent(user), 70);
  });

  test("may be in credits, and released", async () => {
    const user = await subscribed();
    const reservation = await quotastack.reserve(user, { feature_key: "api_calls", credits: 12.5 });
    assert.equal(reservation.reserved, 12.5);
    assert.equal((await reservation.release()).released, 12.5);
    assert.equal(await spent(user), 0);
  });

  test("is refused where credit does not suffice", async () => {
    const asked = quotastack.reserve(await subscribed(), { ...hundred, units: CREDITS + 1 });
    await assert.rejects(asked, InsufficientCreditsError);
  });

  test("whose answers are all lost is opened once and charged once", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const user = await subscribed();
    proxy.turns.push("lose the answer");
    const reservation = await client({ edgeUrl: proxy.url }).reserve(user, hundred);
    proxy.turns.push("lose the answer", "refuse");
    assert.equal((await reservation.commit({ units: 30 })).charged, 30);
    assert.equal(await spent(user), 30);
  });
});

describe("work within a reservation", () => {
  test("is charged what it last said, also in credits, and its result comes back", async () => {
    const user = await subscribed();
    const result = await quotastack.withReservation(user, hundred, async (reservation) => {
      reservation.used = 10;
      reservation.used = 42;
      return "an answer";
    });
    await quotastack.withReservation(user, { feature_key: "api_calls", credits: 5 }, (reservation) => {
      reservation.used = 2;
    });
    assert.equal(result, "an answer");
    assert.equal(await spent(user), 44);
  });

  test("that fails is charged what it said before, and fails as it failed", async () => {
    const user = await subscribed();
    const work = quotastack.withReservation(user, hundred, (reservation) => {
      reservation.used = 7;
      throw new RangeError("the model");
    });
    await assert.rejects(work, RangeError);
    assert.equal(await spent(user), 7);
  });

  test("that says nothing is charged nothing; what it ended itself stays ended", async () => {
    const user = await subscribed();
    await quotastack.withReservation(user, hundred, () => {});
    await quotastack.withReservation(user, hundred, (reservation) => reservation.commit({ units: 3 }));
    assert.equal(await spent(user), 3);
  });

  test("whose own commit nobody answered is charged that, and nothing is given back behind it", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const cut = client({ edgeUrl: proxy.url, attempts: 1 });
    const user = await subscribed();
    for (const turn of ["refuse", "lose the answer"] as const) {
      await cut.withReservation(user, hundred, async (reservation) => {
        proxy.turns.push(turn);
        await assert.rejects(reservation.commit({ units: 40 }), UnreachableError);
      });
    }
    assert.equal(await spent(user), 80);
    const unheard = cut.withReservation(user, hundred, async (reservation) => {
      proxy.turns.push("refuse", "refuse");
      await reservation.commit({ units: 40 });
    });
    await assert.rejects(unheard, AggregateError);
    assert.deepEqual(
      proxy.seen.filter(({ path }) => path.endsWith("/release")),
      [],
    );
    await cut.withReservation(user, hundred, async (reservation) => {
      await assert.rejects(reservation.commit({ credits: 1 }), { code: "measure_mismatch" });
    });
    assert.equal(await spent(user), 80 + 100, "what was refused is given back; what nobody answered is still held");
  });

  test("without credit it does not begin", async () => {
    const work = quotastack.withReservation(newUser(), hundred, () => assert.fail("it began"));
    await assert.rejects(work, { code: "unknown_customer" });
  });

  test("whose end nobody answers says so, beside what the work said", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const cut = client({ edgeUrl: proxy.url, attempts: 1 });
    const user = await subscribed();
    const cutOff = async (reservation: { used: number | null }) => {
      reservation.used = 1;
      await proxy.down();
    };
    await assert.rejects(cut.withReservation(user, hundred, cutOff), UnreachableError);
    await proxy.up();
    const failing = cut.withReservation(user, hundred, async (reservation) => {
      await cutOff(reservation);
      throw new RangeError("the model");
    });
    await assert.rejects(failing, (error) => {
      assert(error instanceof AggregateError);
      assert.deepEqual(
        error.errors.map(({ name }) => name),
        ["RangeError", "UnreachableError"],
      );
      return true;
    });
  });
});
