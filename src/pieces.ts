/** Pieces below this size are joined when more than one of them waits. */
const SMALL = 16 * 1024;
/** What they are joined in. */
const BLOCK_BYTES = 16 * 1024;

/**
 * Bytes that wait, in order. What they take is about what they are, however they are cut: a piece of one byte, on its own,
 * takes a hundred times that, and as a view it keeps all the memory that it was read into.
 *
 * A piece that waits alone is handed on as it came; so is a large one.
 */
export class Pieces {
  /** How many wait. Only this class changes it. */
  bytes = 0;
  #first: Uint8Array | undefined = undefined;
  #more: Uint8Array[] | undefined = undefined;
  /** Comes behind all of them: what small pieces are copied into, and how far. */
  #block: Buffer | undefined = undefined;
  #used = 0;

  /** Takes a piece, which must not be changed any more. */
  push(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.bytes += piece.length;
    if (this.#block === undefined) {
      const last = this.#last();
      if (last === undefined || last.length >= SMALL || piece.length >= SMALL) {
        this.#add(piece);
        return;
      }
      this.#removeLast();
      this.#join(last);
    } else if (piece.length >= SMALL) {
      this.#close(this.#block);
      this.#add(piece);
      return;
    }
    this.#join(piece);
  }

  /** Gives the bytes in front, as many as are at hand in one piece. */
  shift(): Uint8Array | undefined {
    if (this.#first === undefined && this.#block !== undefined) this.#close(this.#block);
    const piece = this.#first;
    if (piece === undefined) return undefined;
    this.#first = this.#more?.shift();
    this.bytes -= piece.length;
    return piece;
  }

  /** Gives the first `size` of the bytes, of which there must be so many, in a memory of their own. */
  take(size: number): Uint8Array {
    if (size === 0) return new Uint8Array(0);
    const first = this.#upTo(size);
    // most often that is all, and needs no memory that is cleared first
    if (first.length === size) return new Uint8Array(first);
    const out = new Uint8Array(size);
    out.set(first);
    for (let at = first.length; at < size; ) {
      const piece = this.#upTo(size - at);
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }

  /** Gives all of them: a piece that is alone as it came. They wait no longer. */
  all(): Buffer {
    const alone = this.bytes === this.#first?.length ? this.#first : undefined;
    const bytes = alone ?? this.take(this.bytes);
    this.clear();
    return asBuffer(bytes);
  }

  clear(): void {
    this.bytes = 0;
    this.#first = undefined;
    this.#more = undefined;
    this.#block = undefined;
  }

  #last(): Uint8Array | undefined {
    const more = this.#more;
    return more === undefined || more.length === 0 ? this.#first : more[more.length - 1];
  }

  #removeLast(): void {
    if (this.#more?.pop() === undefined) this.#first = undefined;
  }

  #add(piece: Uint8Array): void {
    if (this.#first === undefined) this.#first = piece;
    else if (this.#more === undefined) this.#more = [piece];
    else this.#more.push(piece);
  }

  /** As `shift`, but no more than so many. */
  #upTo(size: number): Uint8Array {
    const piece = this.shift() as Uint8Array;
    if (piece.length <= size) return piece;
    if (this.#first !== undefined) {
      this.#more ??= [];
      this.#more.unshift(this.#first);
    }
    this.#first = piece.subarray(size);
    this.bytes += piece.length - size;
    return piece.subarray(0, size);
  }

  #join(piece: Uint8Array): void {
    for (let at = 0; at < piece.length; ) {
      if (this.#block === undefined) {
        this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
        this.#used = 0;
      }
      const size = Math.min(piece.length - at, BLOCK_BYTES - this.#used);
      this.#block.set(size === piece.length ? piece : piece.subarray(at, at + size), this.#used);
      this.#used += size;
      at += size;
      if (this.#used === BLOCK_BYTES) this.#close(this.#block);
    }
  }

  /** The block is full, or what comes next does not go into it. */
  #close(block: Buffer): void {
    this.#add(block.subarray(0, this.#used));
    this.#block = undefined;
  }
}

/** The same bytes. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
