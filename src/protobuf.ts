/** Bytes that are not the message they should be. */
export class ProtobufError extends Error {
  override readonly name = 'ProtobufError';
}

/** Wire types. Groups are proto2's. */
export const VARINT = 0;
export const FIXED64 = 1;
export const LENGTH_DELIMITED = 2;
const START_GROUP = 3;
const END_GROUP = 4;
export const FIXED32 = 5;

/** Groups are proto2's; nobody nests them this deep, and an attacker could. */
const MAX_GROUP_DEPTH = 64;

/** Strings up to this length are written byte by byte: cheaper than a call into C++. */
const SHORT_STRING = 64;

/** Writes a message. Grows as needed; its bytes may be copied from `bytes` up to `size`. */
export class Writer {
  bytes: Buffer = Buffer.allocUnsafe(1024);
  size = 0;

  /** Makes room for so many more bytes. */
  reserve(bytes: number): void {
    const needed = this.size + bytes;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.bytes.length));
    this.bytes.copy(grown, 0, 0, this.size);
    this.bytes = grown;
  }

  /** An unsigned number below 2^32. */
  varint(value: number): void {
    this.reserve(5);
    const { bytes } = this;
    let rest = value;
    for (; rest >= 0x80; rest >>>= 7) bytes[this.size++] = (rest & 0x7f) | 0x80;
    bytes[this.size++] = rest;
  }

  tag(field: number, wireType: number): void {
    this.varint((field << 3) | wireType);
  }

  /** Negative numbers take ten bytes: they are sign-extended to 64 bits. */
  int32(value: number): void {
    if (value >= 0) {
      this.varint(value);
      return;
    }
    this.reserve(10);
    const { bytes } = this;
    let rest = value | 0;
    for (let i = 0; i < 9; i++, rest >>= 7) bytes[this.size++] = (rest & 0x7f) | 0x80;
    bytes[this.size++] = 1;
  }

  double(value: number): void {
    this.reserve(8);
    this.size = this.bytes.writeDoubleLE(value, this.size);
  }

  float(value: number): void {
    this.reserve(4);
    this.size = this.bytes.writeFloatLE(value, this.size);
  }

  /** Length and UTF-8 bytes. */
  string(value: string): void {
    if (value.length < SHORT_STRING) {
      this.reserve(1 + SHORT_STRING);
      const start = this.size + 1;
      let at = start;
      for (let i = 0; i < value.length; i++) {
        const char = value.charCodeAt(i);
        if (char >= 0x80) {
          at = -1;
          break;
        }
        this.bytes[at++] = char;
      }
      if (at >= 0) {
        this.bytes[this.size] = value.length;
        this.size = at;
        return;
      }
    }
    const length = Buffer.byteLength(value);
    this.varint(length);
    this.reserve(length);
    this.size += this.bytes.write(value, this.size, 'utf8');
  }

  /** Length and bytes. */
  data(value: Uint8Array): void {
    this.varint(value.length);
    this.reserve(value.length);
    this.bytes.set(value, this.size);
    this.size += value.length;
  }

  /** Length and whatever `write` writes. */
  message(write: () => void): void {
    const start = this.size;
    this.reserve(1);
    this.size++;
    write();
    const length = this.size - start - 1;
    if (length < 0x80) {
      this.bytes[start] = length;
      return;
    }
    // the length takes more than the one byte left for it: move the message
    const extra = length < 0x4000 ? 1 : length < 0x200000 ? 2 : length < 0x10000000 ? 3 : 4;
    this.reserve(extra);
    this.bytes.copyWithin(start + 1 + extra, start + 1, this.size);
    this.size = start;
    this.varint(length);
    this.size += length;
  }

  /** Gives a copy of what was written, after `offset` bytes of room. */
  finish(offset = 0): Buffer {
    const out = Buffer.allocUnsafe(offset + this.size);
    this.bytes.copy(out, offset, 0, this.size);
    return out;
  }
}

/** Reads a message from a range of bytes. Every method throws a ProtobufError beyond the range's end. */
export class Reader {
  readonly #bytes: Buffer;
  #at: number;
  #end: number;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#at = 0;
    this.#end = bytes.length;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#end;
  }

  /** Where the next byte is. */
  get position(): number {
    return this.#at;
  }

  /** The low 32 bits of a varint, unsigned. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#byte();
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new ProtobufError(`varint of more than 10 bytes at ${this.#at}`);
  }

  int32(): number {
    return this.varint() | 0;
  }

  double(): number {
    return this.#bytes.readDoubleLE(this.#skip(8));
  }

  float(): number {
    return this.#bytes.readFloatLE(this.#skip(4));
  }

  string(): string {
    const length = this.varint();
    const start = this.#skip(length);
    return this.#bytes.toString('utf8', start, start + length);
  }

  /** A view. */
  data(): Buffer {
    const length = this.varint();
    const start = this.#skip(length);
    return this.#bytes.subarray(start, start + length);
  }

  /** Runs `read` on a nested message, at whose end `isAtEnd` is true. */
  message<T>(read: () => T): T {
    const length = this.varint();
    const start = this.#skip(length);
    const outer = this.#end;
    this.#at = start;
    this.#end = start + length;
    const value = read();
    this.#at = this.#end;
    this.#end = outer;
    return value;
  }

  /** Field number and wire type in one, as written. */
  tag(): number {
    const tag = this.varint();
    if (tag < 8) throw new ProtobufError(`field number 0 at ${this.#at}`);
    return tag;
  }

  /** Skips the value of a field that nobody asked for. */
  skip(tag: number, depth = 0): void {
    switch (tag & 7) {
      case VARINT:
        this.varint();
        return;
      case FIXED64:
        this.#skip(8);
        return;
      case LENGTH_DELIMITED:
        this.#skip(this.varint());
        return;
      case FIXED32:
        this.#skip(4);
        return;
      case START_GROUP: {
        if (depth === MAX_GROUP_DEPTH) throw new ProtobufError(`groups nested too deeply at ${this.#at}`);
        for (let inner = this.tag(); inner !== ((tag & ~7) | END_GROUP); inner = this.tag())
          this.skip(inner, depth + 1);
        return;
      }
      default:
        throw new ProtobufError(`wire type ${tag & 7} at ${this.#at}`);
    }
  }

  #byte(): number {
    if (this.#at >= this.#end) throw new ProtobufError(`truncated at ${this.#at}`);
    return this.#bytes[this.#at++] as number;
  }

  #skip(bytes: number): number {
    const start = this.#at;
    if (bytes > this.#end - start) throw new ProtobufError(`${bytes} bytes at ${start}, ${this.#end - start} left`);
    this.#at = start + bytes;
    return start;
  }
}

/** How a value is written and read, and the wire type that says so. */
export interface Codec<T> {
  readonly wireType: number;
  write(writer: Writer, value: T): void;
  read(reader: Reader): T;
}

export const int32: Codec<number> = { wireType: VARINT, write: (w, v) => w.int32(v), read: r => r.int32() };
export const uint32: Codec<number> = { wireType: VARINT, write: (w, v) => w.varint(v), read: r => r.varint() };
export const bool: Codec<boolean> = {
  wireType: VARINT,
  write: (w, v) => w.varint(v ? 1 : 0),
  read: r => r.varint() !== 0,
};
export const double: Codec<number> = { wireType: FIXED64, write: (w, v) => w.double(v), read: r => r.double() };
export const float: Codec<number> = { wireType: FIXED32, write: (w, v) => w.float(v), read: r => r.float() };
export const string: Codec<string> = {
  wireType: LENGTH_DELIMITED,
  write: (w, v) => w.string(v),
  read: r => r.string(),
};
export const bytes: Codec<Uint8Array> = { wireType: LENGTH_DELIMITED, write: (w, v) => w.data(v), read: r => r.data() };

/** A field of a message. */
export interface Field<T> {
  readonly number: number;
  readonly wireType: number;
  /** Writes the value with its tag, every time that the field occurs. */
  write(writer: Writer, value: T): void;
  /** Reads one occurrence; `previous` is what the earlier ones gave. */
  read(reader: Reader, previous: T | undefined): T;
}

/** A field that occurs once; of several occurrences the last counts. */
export function single<T>(number: number, codec: Codec<T>): Field<T> {
  return {
    number,
    wireType: codec.wireType,
    write(writer, value) {
      writer.tag(number, codec.wireType);
      codec.write(writer, value);
    },
    read: reader => codec.read(reader),
  };
}

/** A field that occurs once for each item. */
export function repeated<T>(number: number, codec: Codec<T>): Field<readonly T[]> {
  const item = single(number, codec);
  return {
    number,
    wireType: codec.wireType,
    write(writer, values) {
      for (const value of values) item.write(writer, value);
    },
    read(reader, previous) {
      // of our own making: a copy for each item would take quadratic time
      const values = (previous as T[] | undefined) ?? [];
      values.push(codec.read(reader));
      return values;
    },
  };
}

type Shape = Readonly<Record<string, Field<unknown>>>;

/**
 * A message. What is absent is undefined and not written; whatever is there is written, also 0, false and
 * "": Noslate's planes take absence for "the default applies".
 */
export type Message<S extends Shape> = {
  readonly [K in keyof S]?: (S[K] extends Field<infer T> ? T : never) | undefined;
};

/** A message, on its own or within another. */
export interface MessageCodec<T> extends Codec<T> {
  /** Serializes it, behind `offset` bytes of room. */
  encode(value: T, offset?: number): Buffer;
  /** @throws {ProtobufError} for bytes that are truncated, overlong or no message. */
  decode(bytes: Buffer): T;
}

/** What messages are put together in. One that a huge message has made grow is let go. */
let scratch = new Writer();
const MAX_SCRATCH_BYTES = 64 * 1024;

/** Makes a message's codec of its fields, in the order in which they are written. */
export function message<S extends Shape>(shape: S): MessageCodec<Message<S>> {
  type Value = Record<string, unknown>;
  const fields: readonly [name: string, field: Field<unknown>][] = Object.entries(shape);
  const byNumber: [name: string, field: Field<unknown>][] = [];
  for (const entry of fields) byNumber[entry[1].number] = entry;

  function write(writer: Writer, value: Value): void {
    for (const [name, field] of fields) {
      const item = value[name];
      if (item !== undefined) field.write(writer, item);
    }
  }
  function read(reader: Reader): Message<S> {
    const value: Value = {};
    while (!reader.isAtEnd) {
      const tag = reader.tag();
      const entry = byNumber[tag >>> 3];
      if (entry === undefined || entry[1].wireType !== (tag & 7)) reader.skip(tag);
      else value[entry[0]] = entry[1].read(reader, value[entry[0]]);
    }
    return value as Message<S>;
  }

  return {
    wireType: LENGTH_DELIMITED,
    write: (writer, value) => writer.message(() => write(writer, value)),
    read: reader => reader.message(() => read(reader)),
    encode(value, offset) {
      if (scratch.bytes.length > MAX_SCRATCH_BYTES) scratch = new Writer();
      scratch.size = 0;
      write(scratch, value);
      return scratch.finish(offset);
    },
    decode: data => read(new Reader(data)),
  };
}
