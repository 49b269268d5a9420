/** `quotastack/express`, in a real application on a real socket. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import express, { type RequestHandler } from "express";
import type { QuotaStack } from "quotastack";
import { type MeteredOptions, metered } from "quotastack/express";
import { Obstacle } from "./support/proxy.js";
import { CREDITS, client, newUser, spent, subscribed, URL_OF_EDGE, waitUntil } from "./support/shop.js";

const answers: RequestHandler = (_request, response) => {
  response.json({ answer: "yes" });
};

interface Asked {
  user: string;
  headers?: Record<string, string>;
}

/** An application with one metered route; `ask` posts to it. */
async function application(
  options: Partial<MeteredOptions> & { quotastack?: QuotaStack } = {},
  handler: RequestHandler = answers,
) {
  const { quotastack = client(), ...more } = options;
  const app = express();
  const user: MeteredOptions["user"] = (request) => decodeURIComponent(request.get("X-User") ?? "");
  app.post("/chat", metered(quotastack, { user, feature: "ai_request", ...more }), handler);
  app.use(((error, _request, response, _next) => {
    response.status(500).json({ error: error.code ?? error.message });
  }) as express.ErrorRequestHandler);
  const server = app.listen(0, "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/chat`;
  const ask = ({ user: name, headers }: Asked, init: RequestInit = {}) =>
    fetch(address, { method: "POST", headers: { "X-User": encodeURIComponent(name), ...headers }, ...init });
  const close = () => {
    server.close(); // first: nothing that comes meanwhile keeps the process alive
    server.closeAllConnections();
  };
  return { ask, close };
}

function charged(user: string, amount: number): Promise<void> {
  return waitUntil(async () => (await spent(user)) === amount, `${amount} to be charged`);
}

for (const enforce of [false, true]) {
  describe(`a metered route that ${enforce ? "sets credit aside" : "checks"}`, () => {
    test("answers whoever may, and charges once for each request", async (context) => {
      const { ask, close } = await application({ enforce, units: 2 });
      context.after(close);
      const user = await subscribed();
      for (let turn = 0; turn < 2; turn += 1) {
        const response = await ask({ user });
        assert.deepEqual([response.status, await response.json()], [200, { answer: "yes" }]);
      }
      await charged(user, 4);
    });

    test("charges what the handler says that it used", async (context) => {
      const { ask, close } = await application(
        { enforce, units: 100, used: (_request, response) => response.locals.tokens },
        (_, response) => {
          response.locals.tokens = 7;
          response.end();
        },
      );
      context.after(close);
      const user = await subscribed();
      await ask({ user });
      await charged(user, 7);
    });

    test("refuses with a problem document, and the handler does not run", async (context) => {
      const { ask, close } = await application({ enforce, units: CREDITS + 1 }, () => assert.fail("it ran"));
      context.after(close);
      const poor = await ask({ user: await subscribed() });
      assert.equal(poor.headers.get("Content-Type"), "application/problem+json; charset=utf-8");
      const problem = await poor.json();
      assert.deepEqual([poor.status, problem.status, problem.code], [402, 402, "insufficient_credits"]);
      assert.equal(problem.context.feature_key, "ai_request");
      const stranger = await ask({ user: newUser() });
      assert.deepEqual([stranger.status, (await stranger.json()).code], [403, "unknown_customer"]);
    });

    test("charges nothing where the handler fails, or its client goes before it answers", async (context) => {
      const quotastack = client();
      const turns: RequestHandler[] = [
        (_, response) => void response.status(500).end(),
        () => {
          throw new Error("of the handler");
        },
        () => control.abort(),
        answers,
      ];
      const control = new AbortController();
      const closed: boolean[] = [];
      const { ask, close } = await application({ quotastack, enforce }, (request, response, next) => {
        response.once("close", () => closed.push(response.writableFinished));
        return turns.shift()?.(request, response, next);
      });
      context.after(close);
      const user = await subscribed();
      assert.equal((await ask({ user })).status, 500);
      assert.equal((await ask({ user })).status, 500);
      await assert.rejects(ask({ user }, { signal: control.signal }), { name: "AbortError" });
      await waitUntil(() => closed.length === 3, "the connection to be gone");
      assert.equal((await ask({ user })).status, 200);
      await charged(user, 1);
    });

    test("charges what was used for a client that leaves before the last byte", async (context) => {
      const used: MeteredOptions["used"] = (_request, response) => response.locals.tokens;
      const { ask, close } = await application({ enforce, units: 100, used }, (_, response) => {
        response.locals.tokens = 7;
        response.write("all but the last byte");
      });
      context.after(close);
      const user = await subscribed();
      const control = new AbortController();
      await ask({ user }, { signal: control.signal });
      control.abort();
      await charged(user, 7);
    });

    test("does nothing for a client that has left while it was asked about", async (context) => {
      let hasLeft = () => {};
      const isOver = new Promise<void>((resolve) => {
        hasLeft = resolve;
      });
      const control = new AbortController();
      const user = await subscribed();
      const { ask, close } = await application(
        {
          enforce,
          user: async (request) => {
            control.abort();
            await new Promise((gone) => request.socket.once("close", gone));
            setTimeout(hasLeft, 300);
            return user;
          },
        },
        () => assert.fail("it ran"),
      );
      context.after(close);
      await assert.rejects(ask({ user }, { signal: control.signal }), { name: "AbortError" });
      await isOver;
      assert.equal(await spent(user), 0);
    });

    test("says 503 or goes on where nobody can be asked, and hands its own faults to the application", async (context) => {
      const proxy = await Obstacle.before(URL_OF_EDGE);
      context.after(() => proxy.down());
      const cut = client({ edgeUrl: proxy.url, attempts: 1, checkAttempts: 1 });
      const { ask, close } = await application({ quotastack: cut, enforce });
      context.after(close);
      proxy.turns.push("refuse");
      const response = await ask({ user: "anybody" });
      const problem = await response.json();
      assert.deepEqual([response.status, problem.code, response.headers.get("Retry-After")], [503, "unavailable", "1"]);
      const stranger = await application({ quotastack: client({ apiKey: "qs_test_nobody" }), enforce });
      context.after(stranger.close);
      const fault = await stranger.ask({ user: "anybody" });
      assert.deepEqual([fault.status, await fault.json()], [500, { error: "unauthenticated" }]);
    });
  });
}

test("with enforcement, requests that come at once do not spend the same credit", async (context) => {
  const waiting: (() => void)[] = [];
  const { ask, close } = await application({ enforce: true, units: CREDITS / 2 }, (_, response) => {
    waiting.push(() => response.end());
    if (waiting.length === 2) for (const go of waiting) go();
  });
  context.after(close);
  const user = await subscribed();
  const statuses = (await Promise.all([1, 2, 3].map(() => ask({ user })))).map(({ status }) => status).sort();
  assert.deepEqual(statuses, [200, 200, 402]);
  await charged(user, CREDITS);
});

test("a caller's own key charges once, where the application says so", async (context) => {
  const { ask, close } = await application({ idempotencyKey: (request) => request.get("Idempotency-Key") });
  context.after(close);
  const [user, key] = [await subscribed(), randomUUID()];
  await ask({ user, headers: { "Idempotency-Key": key } });
  await ask({ user, headers: { "Idempotency-Key": key } });
  await ask({ user });
  await charged(user, 2);
});

test("a charge that nobody answers is tried on after the answer has gone", async (context) => {
  const proxy = await Obstacle.before(URL_OF_EDGE);
  context.after(() => proxy.down());
  const cut = client({ edgeUrl: proxy.url, attempts: 1 });
  const options = { quotastack: cut, enforce: true, units: 5, used: () => 1, settle_seconds: 10 };
  const { ask, close } = await application(options, (_, response) => {
    proxy.turns.push("refuse");
    response.end();
  });
  context.after(close);
  const user = await subscribed();
  assert.equal((await ask({ user })).status, 200);
  await charged(user, 1);
  assert.equal(proxy.seen.filter(({ path }) => path.endsWith("/commit")).length, 2);
});

test("what cannot be recorded after the answer has gone is told", async (context) => {
  const errors: unknown[] = [];
  const used = () => Number.NaN;
  const { ask, close } = await application({ enforce: true, used, onError: (error) => errors.push(error) });
  context.after(close);
  assert.equal((await ask({ user: await subscribed() })).status, 200);
  await waitUntil(() => errors.length === 1, "the error to be told");
});
