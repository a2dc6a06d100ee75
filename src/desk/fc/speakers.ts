/** Which call has printed a line. */
export interface Speakers {
  begin(requestId: string): void;
  end(requestId: string): void;
  /** The call that a line is put down to; undefined where it may be one of several, or there was none yet. */
  of(line: string): string | undefined;
}

/**
 * Puts an instance's lines down to its calls: one whose id is in the line, else the only one that is open, else the last that
 * was. What a call has printed before its answer has come by then, but is read in the same turn at the earliest: it goes on
 * to be open until the next, and nothing can have been printed by one that began in this.
 */
export function createSpeakers(): Speakers {
  const open: string[] = [];
  let last: string | undefined;
  return {
    begin: requestId => void setImmediate(() => open.push(requestId)),
    end(requestId) {
      last = requestId;
      setImmediate(() => {
        const at = open.indexOf(requestId);
        if (at >= 0) open.splice(at, 1);
      });
    },
    of(line) {
      const named = open.find(requestId => line.includes(requestId));
      if (named !== undefined) return named;
      if (last !== undefined && (open.length === 0 || line.includes(last))) return last;
      return open.length === 1 ? open[0] : undefined;
    },
  };
}
