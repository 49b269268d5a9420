/** The package as it is published: what is in it, that it loads, that its types hold, and that its README is right. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createContext, runInContext } from "node:vm";
import { type QuotaStack as Client, VERSION } from "quotastack";
import { client, KEY, newUser, spent, URL_OF_CORE, URL_OF_EDGE, VARIANT } from "./support/shop.js";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const TSC = join(ROOT, "node_modules/typescript/bin/tsc");
/** In place of the page's user, who is everybody's. */
const USER = newUser();
let project = "";

/** What surrounds the README's code in a program. */
const AROUND = `
const planVariantId = ${JSON.stringify(VARIANT)};
const webhookSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZg==";
async function generateResponse(prompt: string) { return prompt.toUpperCase(); }
async function callModel() { return { id: ${JSON.stringify(randomUUID())}, usage: { prompt_tokens: 9, completion_tokens: 3 } }; }
async function* stream() { for (const tokensSoFar of [1, 2]) yield { text: "word ", tokensSoFar }; }
void [planVariantId, webhookSecret, generateResponse, callModel, stream];
`;

/** A model, where the code has one. */
const MODEL = `
import { simulateReadableStream } from "ai";
import { MockLanguageModelV3 } from "ai/test";
const USAGE = {
  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 1, text: 1, reasoning: 0 },
};
const yourModel = new MockLanguageModelV3({
  doStream: async () => ({
    stream: simulateReadableStream({
      chunks: [
        { type: "text-start", id: "1" },
        { type: "text-delta", id: "1", delta: "hello" },
        { type: "text-end", id: "1" },
        { type: "finish", finishReason: { unified: "stop", raw: "stop" }, usage: USAGE },
      ],
    }),
  }),
});
`;

/** What calls the functions that the README only defines. */
const CALLS: Record<string, string> = {
  answer: `console.log(JSON.stringify(await answer("hello", ${JSON.stringify(randomUUID())})));`,
  receive: 'console.log((await receive(new Request("http://shop.example/", { method: "POST" }))).status);',
};

const SAID = [
  /^\{"result":"HELLO","balance":[\d.]+\}\n$/,
  /^live\n$/,
  /^[\d.]+ left\n$/,
  /^$/,
  /^$/,
  /^word word \n$/,
  /^$/,
  /^hello\n$/,
  /^51000 1\n\{/,
  /^400\n$/,
];

async function readme(): Promise<string[]> {
  const text = await readFile(join(ROOT, "README.md"), "utf8");
  return [...text.matchAll(/```ts\n(.*?)```/gs)].map(([, code = ""]) => {
    const calls = Object.entries(CALLS).filter(([name]) => code.includes(`function ${name}(`));
    return `${AROUND}${code.includes("yourModel") ? MODEL : ""}${code.replaceAll("user_123", USER)}${calls.map(([, call]) => call).join("\n")}`;
  });
}

before(async () => {
  project = await mkdtemp(join(tmpdir(), "package-"));
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--pack-destination", project, "--json"], {
    cwd: ROOT,
  });
  const tarball = join(project, JSON.parse(stdout)[0].filename);
  await writeFile(join(project, "package.json"), '{ "private": true, "type": "module" }');
  await run("npm", ["install", "--offline", "--no-package-lock", tarball], { cwd: project });
});

after(() => rm(project, { recursive: true, force: true }));

describe("the packed package", () => {
  test("has what it needs, and nothing else", async () => {
    const installed = join(project, "node_modules/quotastack");
    assert.deepEqual((await readdir(installed)).sort(), ["LICENSE", "README.md", "dist", "package.json"]);
    const { version, dependencies } = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
    assert.deepEqual([version, dependencies], [VERSION, undefined]);
    assert.deepEqual(await readdir(join(project, "node_modules")), [".package-lock.json", "quotastack"].sort());
  });

  test("loads as ES module and as CommonJS, with the same names", async () => {
    const entries = ["", "/node", "/express", "/ai-sdk"].map((entry) => `"quotastack${entry}"`);
    const list = "for (const entry of all) console.log(Object.keys(entry).sort().join());";
    const imports = entries.map((entry) => `import(${entry})`).join();
    await writeFile(join(project, "load.mjs"), `const all = await Promise.all([${imports}]); ${list}`);
    await writeFile(join(project, "load.cjs"), `const all = [${entries.map((entry) => `require(${entry})`)}]; ${list}`);
    const loaded = await Promise.all(
      ["load.mjs", "load.cjs"].map((file) => run(process.execPath, [join(project, file)])),
    );
    assert.equal(loaded[0]?.stdout, loaded[1]?.stdout);
    assert.match(loaded[0]?.stdout ?? "", /QuotaStack,.*verifyWebhook\nFileSpool\nmetered\nmeteredModel\n$/);
  });

  test("the main entry loads and works where there is nothing but what the web has", async () => {
    const dist = join(project, "node_modules/quotastack/dist/cjs");
    const { AbortController, atob, crypto, fetch, performance, TextDecoder, TextEncoder, URL, URLSearchParams } =
      globalThis;
    const web = { AbortController, atob, crypto, fetch, performance, TextDecoder, TextEncoder, URL, URLSearchParams };
    const edge = createContext({ ...web, console, setTimeout, clearTimeout });
    const loaded = new Map<string, Record<string, unknown>>();
    const load = (name: string) => {
      assert.match(name, /^\.\/[\w-]+\.js$/, "not of the package itself");
      const known = loaded.get(name);
      if (known !== undefined) return known;
      const exports: Record<string, unknown> = {};
      loaded.set(name, exports);
      const code = readFileSync(join(dist, name), "utf8");
      runInContext(`(function (exports, require) {${code}\n})`, edge)(exports, load);
      return exports;
    };
    const { QuotaStack } = load("./index.js") as { QuotaStack: typeof Client };
    const quotastack = new QuotaStack({ apiKey: KEY, url: URL_OF_CORE, edgeUrl: URL_OF_EDGE });
    const user = newUser();
    await quotastack.subscribe(user, { plan_variant_id: VARIANT });
    quotastack.bufferUsage(user, { feature_key: "api_calls", units: 2 });
    await quotastack.withReservation(user, { feature_key: "api_calls", units: 9 }, (reservation) => {
      reservation.used = 3;
    });
    assert.equal((await quotastack.close()).waiting, 0);
    assert.equal(await spent(user), 5);
    assert(loaded.size > 10);
  });

  test("its types hold for both kinds of modules, and the README's code compiles and does what it says", async () => {
    const names = (await readme()).map((_, index) => `readme-${index}`);
    // The packages that the README's code stands beside, from where they are.
    for (const name of ["ai", "express", "@types"]) {
      await symlink(join(ROOT, "node_modules", name), join(project, "node_modules", name));
    }
    await mkdir(join(project, "src"));
    await Promise.all((await readme()).map((code, index) => writeFile(join(project, `src/readme-${index}.mts`), code)));
    const use =
      'new QuotaStack({ spool: new FileSpool("x") }).recordUsage("user", { feature_key: "key" }).then(({ cost }) => cost);';
    const common = `import { QuotaStack } from "quotastack"; import { FileSpool } from "quotastack/node"; export = () => ${use}`;
    await writeFile(join(project, "src/common.cts"), common);
    const compilerOptions = {
      target: "ES2022",
      module: "NodeNext",
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: true,
      lib: ["ES2022"],
      typeRoots: [join(ROOT, "node_modules/@types")],
      types: ["node"],
      outDir: "out",
      rootDir: "src",
    };
    await writeFile(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["src"] }));
    await run(process.execPath, [TSC, "-p", project]).catch(({ stdout }) => assert.fail(stdout));
    await client().subscribe(USER, { plan_variant_id: VARIANT });
    const said = await Promise.all(
      names.map((name) => run(process.execPath, [join(project, `out/${name}.mjs`)], { cwd: project })),
    );
    assert.equal(said.length, SAID.length);
    said.forEach(({ stdout }, index) => {
      assert.match(stdout, SAID[index] ?? /never/, names[index]);
    });
  });
});

test("the types are those of the API's document", async () => {
  const made = join(project, "openapi.ts");
  const { scripts } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const [, ...options] = scripts.generate.replace("src/openapi.ts", made).split(" ");
  await run(process.execPath, [join(ROOT, "node_modules/openapi-typescript/bin/cli.js"), ...options], { cwd: ROOT });
  const same = (await readFile(made, "utf8")) === (await readFile(join(ROOT, "src/openapi.ts"), "utf8"));
  assert(same, "src/openapi.ts is not what sdks/openapi.json says: npm run generate");
});
