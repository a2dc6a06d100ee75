/** Lines are held until the loop's turn ends or this much is there: one write for many lines. */
const HOLD_CHARS = 16 * 1024;
/** With more than this unread, whoever can wait does. */
const LITTLE_CHARS = 256 * 1024;
/** With more than this unread, lines are dropped: a reader may stand still for as long as thousands of requests take. */
const FULL_CHARS = 4 * 1024 * 1024;
/** With more than this, even those that are to be dropped last. */
const LAST_CHARS = 2 * FULL_CHARS;
/** Who waits for so long without anything being read waits for nobody, ms. */
const PATIENCE_MS = 1000;
/** How often is looked whether there is a reader again, ms. */
const AGAIN_MS = 100;

/** Where lines go. It holds no more than a few MiB, whether they are read or not. */
export interface Sink {
  /** Nobody reads: lines are to be dropped, and better not even made. */
  readonly isFull: boolean;
  add(line: string): void;
  /** Adds a line that is dropped only when the others have long been. */
  addImportant(line: string): void;
  /** Counts a line that was not added. */
  drop(): void;
  /** Lines that were dropped, in all. */
  dropped(): number;
  /** Writes what is held. */
  flush(): void;
  /** Calls back in another turn, when little is left unread or is going to be dropped. */
  whenRead(callback: () => void): void;
}

/** Text, and what is to be called when it is out. */
export type Write = (text: string, done: () => void) => void;

/**
 * @param write - takes whole lines.
 * @param unread - characters that were written and that nobody has read.
 * @param onRead - it is read again, after so many lines were dropped.
 */
export function createSink(write: Write, unread: () => number, onRead: (dropped: number) => void): Sink {
  let held = '';
  let due: NodeJS.Immediate | undefined;
  let dropped = 0;
  /** Of which `onRead` was told. */
  let told = 0;
  let waiters: (() => void)[] = [];
  let patience: NodeJS.Timeout | undefined;

  function add(line: string): void {
    held += `${line}\n`;
    if (held.length > HOLD_CHARS) flush();
    else due ??= setImmediate(flush);
  }
  function flush(): void {
    if (due !== undefined) clearImmediate(due);
    due = undefined;
    if (held === '') return;
    const text = held;
    held = '';
    write(text, onWritten);
    if (!sink.isFull && unread() > FULL_CHARS) fill();
  }
  function onWritten(): void {
    if (waiters.length === 0) return;
    patience?.refresh();
    settle();
  }
  function settle(): void {
    if (!sink.isFull && unread() > LITTLE_CHARS) {
      patience ??= setTimeout(fill, PATIENCE_MS).unref();
      return;
    }
    clearTimeout(patience);
    patience = undefined;
    const callbacks = waiters;
    waiters = [];
    for (const callback of callbacks) callback();
  }
  function fill(): void {
    sink.isFull = true;
    settle();
    setTimeout(lookForReader, AGAIN_MS).unref();
  }
  function lookForReader(): void {
    if (unread() > LITTLE_CHARS) {
      setTimeout(lookForReader, AGAIN_MS).unref();
      return;
    }
    const count = dropped - told;
    told = dropped;
    sink.isFull = false;
    if (count > 0) onRead(count);
  }

  const sink = {
    isFull: false,
    add,
    addImportant(line: string) {
      if (sink.isFull && unread() > LAST_CHARS) dropped++;
      else add(line);
    },
    drop() {
      dropped++;
    },
    dropped: () => dropped,
    flush,
    whenRead(callback: () => void) {
      if (waiters.push(callback) === 1) setImmediate(settle);
    },
  };
  return sink;
}
