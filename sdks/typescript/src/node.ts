/** What needs a disk: the durable spool. For Node, Bun and Deno. */

export { FileSpool, type FileSpoolOptions } from "./node/file-spool.js";
