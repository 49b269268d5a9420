// Both forms of the package: ES modules in dist/esm, CommonJS in dist/cjs, each with its types. The main entry is compiled a
// third time, without Node's types: what only Node has cannot slip into it.

import { spawn } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

function compile(...options) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [tsc, ...options], { cwd: root, stdio: "inherit" });
    child.on("error", reject);
    child.on("exit", (status) => (status === 0 ? resolve() : reject(new Error(`tsc ${options.join(" ")} failed`))));
  });
}

await compile("-p", "tsconfig.json", "--noEmit");
await rm(`${root}dist`, { recursive: true, force: true });
await Promise.all([compile("-p", "tsconfig.esm.json"), compile("-p", "tsconfig.cjs.json")]);
await mkdir(`${root}dist/cjs`, { recursive: true });
await writeFile(`${root}dist/cjs/package.json`, '{ "type": "commonjs" }\n');
