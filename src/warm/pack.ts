import { closeSync, fstatSync, openSync, readSync, renameSync, writeFileSync } from 'node:fs';

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
  /** By absolute path. Its code is there until the next one is asked for. */
  get(filename: string): PackedModule | undefined;
  /** The absolute path of a request that comes from a module in `folder`. */
  resolve(folder: string, request: string): string | undefined;
  close(): void;
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
 * Opens a pack. Code is read when it is asked for, into memory that is used again: a process would hold all of it as long
 * as it does not collect garbage, which is longer than its start.
 *
 * @throws {Error} there is no such file, it is none of ours, or not all of it.
 */
export function openPack(file: string): Pack {
  const fd = openSync(file, 'r');
  try {
    const { size } = fstatSync(fd);
    const [{ identity, ascii, modules, resolutions }, start] = readIndex(fd, size);
    // of one large string outside of V8's heap the modules' are slices, which cost nothing
    const texts = read(fd, start + ascii, size).toString('latin1');
    let scratch = Buffer.alloc(0);
    return {
      identity,
      get(filename) {
        const entry = modules[filename];
        if (entry === undefined) return undefined;
        const [textStart, textEnd, codeStart, codeEnd] = entry;
        const text =
          textStart >= ascii
            ? texts.slice(textStart - ascii, textEnd - ascii)
            : read(fd, start + textStart, start + textEnd).toString();
        const length = codeEnd - codeStart;
        if (length === 0) return { text, code: undefined };
        if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(length * 2);
        readSync(fd, scratch, 0, length, start + codeStart);
        return { text, code: scratch.subarray(0, length) };
      },
      resolve: (folder, request) => resolutions[folder]?.[request],
      close: () => closeSync(fd),
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function read(fd: number, start: number, end: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(end - start);
  readSync(fd, bytes, 0, bytes.length, start);
  return bytes;
}

/**
 * Gives the index, and where the head ends. Code that is damaged the V8 of Noslate's Node.js 16 refuses by itself; a
 * digest of all would take 8 ms.
 */
function readIndex(fd: number, size: number): [Index, number] {
  try {
    const start = 4 + read(fd, 0, 4).readUInt32LE();
    if (start <= size) {
      const index = JSON.parse(read(fd, 4, start).toString()) as Index;
      if (size === start + index.size) return [index, start];
    }
  } catch {
    // what JSON.parse says would bring the file's bytes into the log
  }
  throw new Error('damaged');
}

/** True for the same installation under the same Node.js. */
export function isSame(a: Identity, b: Identity): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
