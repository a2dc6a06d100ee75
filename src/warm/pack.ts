import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/** What a pack was made of. One that differs in anything is not used. */
export interface Identity {
  /** Version and architecture of Node.js. */
  readonly node: string;
  /** The package.json and the file that is run: path, size, and time of change in whole seconds. */
  readonly files: readonly (readonly [string, number, number])[];
}

/** A module as it was loaded. */
export interface PackedModule {
  /** A `.js` module's is in Node's wrapper, `(function (exports, require, …) {…\n})`; a `.json` module's is bare. */
  readonly text: string;
  /** V8's code cache; none for `.json`. */
  readonly code: Buffer | undefined;
}

/** The modules of one program, and what each of its requests was resolved to. */
export interface Pack {
  readonly identity: Identity;
  /** By absolute path. */
  get(filename: string): PackedModule | undefined;
  /** The absolute path of a request that comes from a module in `folder`. */
  resolve(folder: string, request: string): string | undefined;
}

/** A pack that is being made. */
export interface PackContents {
  readonly identity: Identity;
  readonly modules: ReadonlyMap<string, PackedModule>;
  /** By folder, by request. */
  readonly resolutions: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

/** The file's head. Positions are bytes from the end of the head; an end that is its start is none. */
interface Index {
  identity: Identity;
  /** Bytes from the end of the head to the end of the file. */
  size: number;
  /** Where the texts that are ASCII begin; they go on to the end of the file. */
  ascii: number;
  /** Text's start and end, code's start and end; by path. */
  modules: Record<string, [number, number, number, number]>;
  resolutions: Record<string, Record<string, string>>;
}

/** V8 copies a code cache that does not lie on such a boundary. */
const ALIGNMENT = 8;

/**
 * Writes a pack, whole or not at all.
 *
 * Layout: length of the index (uint32, little endian), the index as JSON, code caches, texts.
 */
export function writePack(file: string, { identity, modules, resolutions }: PackContents): void {
  const parts: Buffer[] = [];
  let at = 0;
  const add = (bytes: Buffer, boundary: number): [number, number] => {
    const padding = -bytes.length & (boundary - 1);
    parts.push(bytes, Buffer.alloc(padding));
    at += bytes.length + padding;
    return [at - bytes.length - padding, at - padding];
  };
  const entries = [...modules].map(([filename, { text, code }]) => {
    const bytes = Buffer.from(text);
    return { filename, bytes, code, isAscii: bytes.length === text.length };
  });
  const codes = entries.map(({ code }) => add(code ?? Buffer.alloc(0), ALIGNMENT));
  const texts = new Map<string, [number, number]>();
  for (const { filename, bytes, isAscii } of entries) if (!isAscii) texts.set(filename, add(bytes, 1));
  const ascii = at;
  for (const { filename, bytes, isAscii } of entries) if (isAscii) texts.set(filename, add(bytes, 1));
  const index: Index = { identity, size: at, ascii, modules: {}, resolutions: {} };
  entries.forEach(({ filename }, i) => {
    index.modules[filename] = [...(texts.get(filename) ?? [0, 0]), ...(codes[i] ?? [0, 0])];
  });
  for (const [folder, requests] of resolutions) index.resolutions[folder] = Object.fromEntries(requests);
  const json = JSON.stringify(index);
  // what follows begins on a boundary, too
  const head = Buffer.from(json + ' '.repeat(-(4 + Buffer.byteLength(json)) & (ALIGNMENT - 1)));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  // several workers of one program may write
  const part = `${file}.${process.pid}`;
  writeFileSync(part, Buffer.concat([length, head, ...parts]));
  renameSync(part, file);
}

/**
 * Reads a pack.
 *
 * @throws {Error} there is no such file, it is none of ours, or not all of it.
 */
export function readPack(file: string): Pack {
  const bytes = readFileSync(file);
  const [{ identity, ascii, modules, resolutions }, start] = readIndex(bytes);
  // of one large string outside of V8's heap the modules' are slices, which cost nothing
  const texts = bytes.toString('latin1', start + ascii);
  return {
    identity,
    get(filename) {
      const entry = modules[filename];
      if (entry === undefined) return undefined;
      const [textStart, textEnd, codeStart, codeEnd] = entry;
      return {
        text:
          textStart >= ascii
            ? texts.slice(textStart - ascii, textEnd - ascii)
            : bytes.toString('utf8', start + textStart, start + textEnd),
        code: codeStart === codeEnd ? undefined : bytes.subarray(start + codeStart, start + codeEnd),
      };
    },
    resolve: (folder, request) => resolutions[folder]?.[request],
  };
}

/**
 * Gives the index, and where the head ends. Code that is damaged the V8 of Noslate's Node.js 16 refuses by itself; a
 * digest of all would take 8 ms.
 */
function readIndex(bytes: Buffer): [Index, number] {
  try {
    const start = 4 + bytes.readUInt32LE();
    const index = JSON.parse(bytes.toString('utf8', 4, start)) as Index;
    if (bytes.length === start + index.size) return [index, start];
  } catch {
    // what JSON.parse says would bring the file's bytes into the log
  }
  throw new Error('damaged');
}

/** True for the same installation under the same Node.js. */
export function isSame(a: Identity, b: Identity): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
