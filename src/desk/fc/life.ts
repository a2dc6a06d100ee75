import { now } from '../../clock.ts';
/** Something that happened in an instance's life, or to a call. `fields` are numbers in ms unless named otherwise. */
export interface LifeEvent {
  /** ms since the platform was started. */
  readonly at: number;
  readonly event:
    | 'listening'
    | 'starting'
    | 'accepting'
    | 'initialized'
    | 'initialize failed'
    | 'ready'
    | 'request'
    | 'answer'
    | 'retry'
    | 'expired'
    | 'pre-freeze'
    | 'frozen'
    | 'thawed'
    | 'healthy'
    | 'unhealthy'
    | 'scaled'
    | 'pre-stop'
    | 'stopping'
    | 'exited'
    | 'log';
  /** `c-…`, the instance that it happened to. */
  readonly instance?: string;
  readonly requestId?: string;
  readonly [field: string]: unknown;
}

export type Tell = (event: LifeEvent['event'], fields: Readonly<Record<string, unknown>>) => void;

/** What has happened so far, and what will. */
export interface Life {
  readonly events: readonly LifeEvent[];
  readonly tell: Tell;
  on(listener: (event: LifeEvent) => void): void;
  /** Resolves with the first event, earlier or later, that passes. Who waits sets the deadline. */
  until(test: (event: LifeEvent) => boolean): Promise<LifeEvent>;
}

/**
 * Keeps what is told, and passes it on.
 *
 * @param keep - false, for who only listens, and for long: `events` stays empty.
 */
export function createLife(keep: boolean = true): Life {
  const started = now();
  const events: LifeEvent[] = [];
  const listeners = new Set<(event: LifeEvent) => void>();
  return {
    events,
    tell(event, fields) {
      const entry: LifeEvent = { at: Math.round(now() - started), event, ...fields };
      if (keep) events.push(entry);
      for (const listener of [...listeners]) listener(entry);
    },
    on: listener => void listeners.add(listener),
    until: test =>
      new Promise(done => {
        const check = (event: LifeEvent): void => {
          if (!test(event)) return;
          listeners.delete(check);
          done(event);
        };
        const found = events.find(test);
        if (found !== undefined) return done(found);
        listeners.add(check);
      }),
  };
}
