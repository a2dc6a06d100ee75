// The first code of dist/server.js. The rest of it is a text within, so that V8 need not even look through what it has
// compiled before: that takes 3 ms of a start, and compiling each function at its first call several more.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Script } from 'node:vm';

/** Set by the build: the code of `main.ts` and all it needs, and a hash of it. */
declare const CODE: string;
declare const CODE_HASH: string;

/** V8's code cache, made by running this file with the variable NOSLATE_FC_CACHE=make, until it ends. */
const file = `${__filename}.cache`;

/** V8 tells another version's cache, or another length's of the code, but not another code's of the same length. */
const identity = `noslate-fc ${CODE_HASH} ${process.version} ${process.arch}`;
/** V8 copies a cache that does not lie on a boundary of 8 bytes. */
const HEAD_BYTES = 64;

function readCache(): Buffer | undefined {
  try {
    const bytes = readFileSync(file);
    return bytes.toString('latin1', 0, HEAD_BYTES).trimEnd() === identity ? bytes.subarray(HEAD_BYTES) : undefined;
  } catch {
    return undefined; // as a rule there is none
  }
}

/** Writes the cache whole or not at all. */
function writeCache(): void {
  writeFileSync(
    `${file}.${process.pid}`,
    Buffer.concat([Buffer.from(identity.padEnd(HEAD_BYTES)), script.createCachedData()]),
  );
  renameSync(`${file}.${process.pid}`, file);
}

const cachedData = readCache();
const script = new Script(CODE, { filename: __filename, ...(cachedData && { cachedData }) });
if (process.env['NOSLATE_FC_CACHE'] === 'make') process.on('exit', writeCache);
script.runInThisContext()(require, __filename);
