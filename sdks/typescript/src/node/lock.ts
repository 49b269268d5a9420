/** Who owns a directory of the spool, and whether they live. Node has no locks of files, so an owner signs, and shows signs of life. */

import { readFile, readlink, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

/** How often an owner shows that it lives. */
export const SIGN_OF_LIFE_MS = 15_000;

/** After so long without a sign, an owner whom nobody here can see is dead. */
const DEAD_AFTER_MS = 60_000;

const LOCK_NAME = "lock";

interface Owner {
  pid: number;
  /** Where the pid means something: machine, boot and namespace. */
  place: string;
  /** When the process started, where the system says so: pids come again. */
  started: string | null;
}

/** Sign as the owner of a directory. */
export async function sign(directory: string): Promise<void> {
  const owner: Owner = { pid: process.pid, place: await here(), started: await startOf(process.pid) };
  await writeFile(join(directory, LOCK_NAME), JSON.stringify(owner), { mode: 0o600 });
}

/** Show that the owner lives; false where somebody took it for dead, and the directory over. */
export async function showLife(directory: string): Promise<boolean> {
  const now = new Date();
  try {
    await utimes(join(directory, LOCK_NAME), now, now);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Give the directory up. */
export async function giveUp(directory: string): Promise<void> {
  await rm(join(directory, LOCK_NAME), { force: true });
}

/** Whether nobody owns the directory any more. */
export async function isAbandoned(directory: string): Promise<boolean> {
  const lock = join(directory, LOCK_NAME);
  let text: string;
  let seen: number;
  try {
    text = await readFile(lock, "utf8");
    seen = (await stat(lock)).mtimeMs;
  } catch (error) {
    return isMissing(error);
  }
  const owner = parse(text);
  if (owner !== null && owner.place === (await here())) return !(await lives(owner));
  return Date.now() - seen > DEAD_AFTER_MS;
}

/** Whether an error says that there is no such file. */
export function isMissing(error: unknown): boolean {
  return (error as { code?: string }).code === "ENOENT";
}

function parse(text: string): Owner | null {
  try {
    return JSON.parse(text);
  } catch {
    return null; // torn by a crash: its age decides
  }
}

async function lives(owner: Owner): Promise<boolean> {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if ((error as { code?: string }).code === "ESRCH") return false;
  }
  return owner.started === null || owner.started === (await startOf(owner.pid));
}

async function here(): Promise<string> {
  const [boot, namespace] = await Promise.all([
    readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => ""),
    readlink("/proc/self/ns/pid").catch(() => ""),
  ]);
  return [hostname(), boot.trim(), namespace].join(" ");
}

async function startOf(pid: number): Promise<string | null> {
  const stated = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  // The name, in brackets, may hold spaces; the start is the 20th field behind it.
  return stated?.slice(stated.lastIndexOf(")") + 2).split(" ")[19] ?? null;
}
