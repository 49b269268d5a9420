/** `quotastack/ai-sdk`: the real AI SDK around a model that says what it is told to, and real credit. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { generateText, simulateReadableStream, streamText, wrapLanguageModel } from "ai";
import { MockLanguageModelV3 } from "ai/test";
import { InsufficientCreditsError, UnreachableError } from "quotastack";
import { type MeteredModelOptions, meteredModel } from "quotastack/ai-sdk";
import { Obstacle } from "./support/proxy.js";
import { CREDITS, client, spent, subscribed, URL_OF_EDGE, waitUntil } from "./support/shop.js";

const features = {
  input: "input_tokens",
  cached_input: "cached_input_tokens",
  output: "output_tokens",
  reasoning: "reasoning_tokens",
};
const usage = {
  inputTokens: { total: 3_000, noCache: 1_000, cacheRead: 2_000, cacheWrite: 0 },
  outputTokens: { total: 1_500, text: 1_000, reasoning: 500 },
};
/** 1,000 of input at 2 per 1,000, 2,000 cached at 1, 1,000 of output at 8, 500 of reasoning at 8. */
const COST = 2 + 2 + 8 + 4;
const finishReason = { unified: "stop", raw: "stop" } as const;

type Chunk = Parameters<typeof simulateReadableStream<MockPart>>[0]["chunks"][number];
type MockPart =
  Awaited<ReturnType<MockLanguageModelV3["doStream"]>>["stream"] extends ReadableStream<infer Part> ? Part : never;

function words(...deltas: string[]): Chunk[] {
  return [
    { type: "stream-start", warnings: [] },
    { type: "text-start", id: "1" },
    ...deltas.map((delta): Chunk => ({ type: "text-delta", id: "1", delta })),
  ];
}

const END: Chunk[] = [
  { type: "text-end", id: "1" },
  { type: "finish", finishReason, usage },
];

function streaming(stream: ReadableStream<MockPart>): MockLanguageModelV3 {
  return new MockLanguageModelV3({ doStream: { stream } });
}

/** The model with its meter, for a customer of its own. */
async function metered(model: MockLanguageModelV3, options: Partial<MeteredModelOptions> = {}, quotastack = client()) {
  const user = await subscribed();
  const fail = (error: unknown) => assert.fail(String(error));
  const middleware = meteredModel(quotastack, { user, features, onError: fail, ...options });
  return { user, model: wrapLanguageModel({ model, middleware }) };
}

describe("an answer in one piece", () => {
  test("is charged by what the provider counted, each pool at its own price", async () => {
    const doGenerate = { content: [{ type: "text" as const, text: "yes" }], finishReason, usage, warnings: [] };
    const { user, model } = await metered(new MockLanguageModelV3({ doGenerate }));
    assert.equal((await generateText({ model, prompt: "?" })).text, "yes");
    assert.equal(await spent(user), COST);
  });

  test("pools without a feature of their own count with their kind, and input may be free", async () => {
    const doGenerate = { content: [{ type: "text" as const, text: "yes" }], finishReason, usage, warnings: [] };
    const { user, model } = await metered(new MockLanguageModelV3({ doGenerate }), {
      features: { output: "output_tokens" },
    });
    await generateText({ model, prompt: "?" });
    assert.equal(await spent(user), 12);
  });

  test("that fails is charged nothing", async () => {
    const doGenerate = () => Promise.reject(new Error("of the provider"));
    const { user, model } = await metered(new MockLanguageModelV3({ doGenerate }));
    await assert.rejects(generateText({ model, prompt: "?", maxRetries: 0 }), /of the provider/);
    assert.equal(await spent(user), 0);
  });

  test("without credit the model is not asked", async () => {
    const mock = new MockLanguageModelV3();
    const { model } = await metered(mock);
    // 8 credits for 1,000 tokens: more than the plan has.
    const asked = generateText({ model, prompt: "?", maxRetries: 0, maxOutputTokens: CREDITS * 1_000 });
    await assert.rejects(asked, InsufficientCreditsError);
    assert.equal(mock.doGenerateCalls.length, 0);
  });
});

describe("a stream", () => {
  test("holds credit while it flows, and is charged what the provider counted", async () => {
    let goOn = () => {};
    const isTime = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const gated = new ReadableStream<MockPart>({
      start(controller) {
        for (const chunk of words("one")) controller.enqueue(chunk);
      },
      async pull(controller) {
        await isTime;
        for (const chunk of [...words(" two").slice(2), ...END]) controller.enqueue(chunk);
        controller.close();
      },
    });
    const { user, model } = await metered(streaming(gated), { mostOutputTokens: 125_000 });
    let text = "";
    for await (const piece of streamText({ model, prompt: "?" }).textStream) {
      if (text === "") assert.equal((await client().checkEntitlement(user, "api_calls")).reserved, 1_000);
      text += piece;
      goOn();
    }
    assert.equal(text, "one two");
    assert.equal(await spent(user), COST);
  });

  test("is kept from expiring for as long as it flows", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const chunks = [...words(...Array.from({ length: 15 }, () => "word ")), ...END];
    const stream = simulateReadableStream({ chunks, chunkDelayInMs: 100 });
    const { user, model } = await metered(streaming(stream), { ttl_seconds: 1 }, client({ edgeUrl: proxy.url }));
    await streamText({ model, prompt: "?" }).consumeStream();
    assert(proxy.seen.filter(({ path }) => path.endsWith("/extend")).length >= 2);
    assert.equal(await spent(user), COST);
  });

  test("that breaks off is charged by what came", async () => {
    const broken = new ReadableStream<MockPart>({
      start(controller) {
        for (const chunk of words("x".repeat(4_000))) controller.enqueue(chunk);
      },
      pull(controller) {
        controller.error(new Error("of the provider"));
      },
    });
    const { user, model } = await metered(streaming(broken));
    await streamText({ model, prompt: "?", onError: () => {} }).consumeStream();
    await waitUntil(async () => (await spent(user)) === 8 + 0.002, "what came and the prompt to be charged");
  });

  test("that its reader leaves is charged by what came, and the model stops", async () => {
    let isCancelled = false;
    const endless = new ReadableStream<MockPart>({
      start(controller) {
        for (const chunk of words("x".repeat(4_000))) controller.enqueue(chunk);
      },
      cancel() {
        isCancelled = true;
      },
    });
    const { user, model } = await metered(streaming(endless));
    const { stream } = await model.doStream({
      prompt: [
        { role: "system", content: "x".repeat(2_000) },
        { role: "user", content: [{ type: "text", text: "x".repeat(2_000) }] },
      ],
    });
    const reader = stream.getReader();
    for (let part = await reader.read(); part.value?.type !== "text-delta"; ) part = await reader.read();
    await reader.cancel();
    assert.equal(isCancelled, true);
    assert.equal(await spent(user), 8 + 2);
  });

  test("that never begins is charged nothing", async () => {
    const doStream = () => Promise.reject(new Error("of the provider"));
    const { user, model } = await metered(new MockLanguageModelV3({ doStream }));
    await streamText({ model, prompt: "?", maxRetries: 0, onError: () => {} }).consumeStream();
    assert.equal(await spent(user), 0);
  });
});

describe("where nobody can be asked", () => {
  test("closed stops the call, open lets it go on and keeps its usage", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const cut = client({ edgeUrl: proxy.url, attempts: 1, onError: () => {} });
    const doGenerate = { content: [{ type: "text" as const, text: "yes" }], finishReason, usage, warnings: [] };
    const closed = await metered(new MockLanguageModelV3({ doGenerate }), {}, cut);
    const open = await metered(new MockLanguageModelV3({ doGenerate }), { failMode: "open" }, cut);
    await proxy.down();
    await assert.rejects(generateText({ model: closed.model, prompt: "?", maxRetries: 0 }), UnreachableError);
    assert.equal((await generateText({ model: open.model, prompt: "?" })).text, "yes");
    await proxy.up();
    assert.equal((await cut.close()).waiting, 0);
    assert.equal(await spent(open.user), COST);
    assert.equal(await spent(closed.user), 0);
  });

  test("an end that nobody answers is tried on, and the answer does not wait for it", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const cut = client({ edgeUrl: proxy.url, attempts: 1, onError: () => {} });
    const doGenerate = async () => {
      proxy.turns.push("refuse", "refuse");
      return { content: [{ type: "text" as const, text: "yes" }], finishReason, usage, warnings: [] };
    };
    // The charge may be there before its answer is: with the proxy that answer goes.
    const options = { settle_seconds: 10, onError: () => {} };
    const { user, model } = await metered(new MockLanguageModelV3({ doGenerate }), options, cut);
    assert.equal((await generateText({ model, prompt: "?" })).text, "yes");
    assert.equal((await cut.close()).waiting, 0);
    await waitUntil(async () => (await spent(user)) === COST, "the commit to be heard");
  });

  test("an end that nobody answers for so long is told", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const errors: unknown[] = [];
    const cut = client({ edgeUrl: proxy.url, attempts: 1, onError: () => {} });
    const doGenerate = async () => {
      await proxy.down();
      return { content: [{ type: "text" as const, text: "yes" }], finishReason, usage, warnings: [] };
    };
    const options = { settle_seconds: 1, onError: (error: unknown) => errors.push(error) };
    const { user, model } = await metered(new MockLanguageModelV3({ doGenerate }), options, cut);
    assert.equal((await generateText({ model, prompt: "?" })).text, "yes");
    await waitUntil(() => errors.length === 1, "it to be told");
    assert(errors[0] instanceof UnreachableError);
    await proxy.up();
    assert.equal((await cut.close()).waiting, 0);
    assert.equal(await spent(user), COST - 8 + 4_096 * 0.008, "what is held comes back when it expires");
  });
});
