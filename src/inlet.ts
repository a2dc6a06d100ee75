import { Readable } from 'node:stream';
import { asBuffer, Pieces } from './pieces.ts';

/** Credit is returned in steps of this, so that most bodies need no credit message at all. */
const STEP = 48 * 1024;

/** The receiving end: a Readable that returns credit for what its reader has taken. */
export class Inlet extends Readable {
  readonly #grant: (bytes: number) => void;
  readonly #onDestroy: (hasEnded: boolean) => void;
  readonly #minCost: number;
  readonly #pieces: Pieces = new Pieces();
  /** Credit that the sending end has used up and not been given back. */
  #owed = 0;
  #isWanted = false;
  #isComplete = false;

  /**
   * @param grant - returns credit to the sending end.
   * @param onDestroy - called once, when the stream was read to its end (`true`) or given up.
   * @param minCost - the least credit that a piece takes on its way. Here it takes as much as it has bytes.
   */
  constructor(grant: (bytes: number) => void, onDestroy: (hasEnded: boolean) => void, minCost: number = 0) {
    // one piece at a time: what the Readable holds counts as taken, and credit was returned for it
    super({ highWaterMark: 1 });
    this.#grant = grant;
    this.#onDestroy = onDestroy;
    this.#minCost = minCost;
  }

  /** Takes what the sending end posted. Ignored when the stream has been destroyed. */
  receive(piece: Uint8Array | undefined, isEnd: boolean): void {
    if (this.destroyed) return;
    if (piece !== undefined) {
      this.#owed += Math.max(piece.length, this.#minCost);
      this.#pieces.push(piece);
    }
    if (isEnd) this.#isComplete = true;
    if (this.#isWanted) this.#deliver();
    else this.#settle();
  }

  override _read(): void {
    this.#deliver();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#pieces.clear();
    this.#onDestroy(error === null && this.readableEnded);
    callback(error);
  }

  #deliver(): void {
    const piece = this.#pieces.shift();
    this.#isWanted = piece === undefined && !this.#isComplete;
    this.#settle();
    if (piece !== undefined) this.push(asBuffer(piece));
    if (this.#isComplete && this.#pieces.bytes === 0) this.push(null);
  }

  /** Returns credit for all but what waits here. */
  #settle(): void {
    const due = this.#owed - this.#pieces.bytes;
    if (due < STEP || this.#isComplete) return;
    this.#owed -= due;
    this.#grant(due);
  }
}
