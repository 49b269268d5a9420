// Runs a page's TypeScript as one module that waits where a block begins. Started by tests/docs/reader.py.
import { readFileSync, read, writeFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [turnIn, turnOut] = [Number(process.env.TURN_IN), Number(process.env.TURN_OUT)];
let count = 0;

// Say that what was before is done, unless nothing was, and wait for the word to go on.
globalThis._turn = async () => {
  if (count++) writeSync(turnOut, "\n");
  await new Promise((done) => read(turnIn, Buffer.alloc(1), 0, 1, null, done));
};

const page = resolve(process.argv[2]);
const typescript = createRequire(resolve("node_modules/quotastack/package.json"))("typescript");
const { outputText } = typescript.transpileModule(readFileSync(page, "utf8"), {
  fileName: page,
  compilerOptions: { target: "es2022", module: "esnext", inlineSourceMap: true },
});
writeFileSync(page.replace(/ts$/, "mjs"), outputText);
await import(pathToFileURL(page.replace(/ts$/, "mjs")));
