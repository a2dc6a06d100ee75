import { Readable } from 'node:stream';

/** Credit is returned in steps of this, so that most bodies need no credit message at all. */
const STEP = 48 * 1024;

/** The receiving end: a Readable that returns credit for what its reader has taken. */
export class Inlet extends Readable {
  readonly #grant: (bytes: number) => void;
  readonly #onDestroy: (hasEnded: boolean) => void;
  readonly #pieces: Uint8Array[] = [];
  #taken = 0;
  #isWanted = false;
  #isComplete = false;

  /**
   * @param grant - returns credit to the sending end.
   * @param onDestroy - called once, when the stream was read to its end (`true`) or given up.
   */
  constructor(grant: (bytes: number) => void, onDestroy: (hasEnded: boolean) => void) {
    // one piece at a time: what the Readable holds counts as taken, and credit was returned for it
    super({ highWaterMark: 1 });
    this.#grant = grant;
    this.#onDestroy = onDestroy;
  }

  /** Takes what the sending end posted. Ignored when the stream has been destroyed. */
  receive(piece: Uint8Array | undefined, isEnd: boolean): void {
    if (this.destroyed) return;
    if (piece !== undefined && piece.length > 0) this.#pieces.push(piece);
    if (isEnd) this.#isComplete = true;
    if (this.#isWanted) this.#deliver();
  }

  override _read(): void {
    this.#deliver();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#pieces.length = 0;
    this.#onDestroy(error === null && this.readableEnded);
    callback(error);
  }

  #deliver(): void {
    const piece = this.#pieces.shift();
    this.#isWanted = piece === undefined && !this.#isComplete;
    if (piece !== undefined) {
      this.#taken += piece.length;
      if (this.#taken >= STEP && !this.#isComplete) {
        this.#grant(this.#taken);
        this.#taken = 0;
      }
      this.push(Buffer.from(piece.buffer, piece.byteOffset, piece.length));
    }
    if (this.#isComplete && this.#pieces.length === 0) this.push(null);
  }
}
