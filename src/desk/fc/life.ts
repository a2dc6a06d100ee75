import { now } from '../../clock.ts';
import type { CallRecord } from './record.ts';

/*
 * The life of a platform as one stream of events: what terminal, JSON lines and whoever else looks at it are told. Times
 * are ms, sizes bytes, memory MB.
 *
 * An instance:  starting → accepting → initialized → ready → (frozen ↔ thawed, unhealthy ↔ healthy) → stopping → exited
 * A call:       call → request → head → answer
 *
 * Each call begins with `call`, before anything is decided, and ends with `answer`. In between come `request`, when it has
 * got an instance, and `head`, when that has begun to answer; neither for a call that FC refuses or has no instance for.
 * What FC makes again (`retry`) has another `request`, `head` and `answer` under the same id, and so has each attempt of an
 * asynchronous call, which are later than its 202. An `answer` without a `call` is to bytes that never became one.
 */

/** What a call is known by. */
export interface CallFields {
  readonly requestId: string;
  readonly kind: 'event' | 'http' | 'websocket';
  /** Of an HTTP trigger. The path has its query. */
  readonly method?: string;
  readonly path?: string;
  /** Of an event's payload. */
  readonly bytes?: number;
}

/** An instance is known by its id, `c-…`. */
interface OfInstance {
  readonly instance: string;
}

/** A lifecycle hook's outcome; status 0 is no answer. */
interface HookOutcome extends OfInstance {
  readonly requestId: string;
  readonly status: number;
  readonly ms: number;
}

/** What each event tells, besides when. */
export interface Happenings {
  /** A process has been started; what follows until `ready` is the cold start. */
  starting: OfInstance & { readonly command: string; readonly port: number };
  /** Nothing accepts on its port yet. `found`: where its processes listen instead, each `host:port`. */
  waiting: OfInstance & { readonly port: number; readonly ms: number; readonly found: readonly string[] };
  /** Its port is open; `ms` since `starting`. */
  accepting: OfInstance & { readonly port: number; readonly ms: number };
  initialized: HookOutcome;
  'initialize failed': HookOutcome;
  /** It may be called; `ms` since `starting`. */
  ready: OfInstance & { readonly ms: number };
  'pre-freeze': HookOutcome;
  frozen: OfInstance;
  /** `ms` that it was frozen. */
  thawed: OfInstance & { readonly ms: number };
  /** One has begun there: the first letters of its id, and how many it has now. */
  session: OfInstance & { readonly session: string; readonly sessions: number };
  healthy: OfInstance;
  unhealthy: OfInstance;
  /** So many instances are running or on their way. */
  scaled: { readonly instances: number };
  /** `reason`: idle, scaled in, timeout, client gone, start failed, initialize failed, deleted, code changed, debugger gone. */
  stopping: OfInstance & { readonly reason: string };
  'pre-stop': HookOutcome;
  /** `expected`: after `stopping`. */
  exited: OfInstance & {
    readonly code?: number;
    readonly signal?: NodeJS.Signals;
    readonly expected: boolean;
  };
  /**
   * A line that an instance has printed. `requestId` is that of the call it belongs to: the one whose id is in it, else the
   * only one in flight, else the last that was, until the next begins. Without one it was printed before any call, or while
   * several were in flight.
   */
  log: OfInstance & { readonly stream: 'stdout' | 'stderr'; readonly line: string; readonly requestId?: string };
  /** A call has come. The record goes on to fill until the call's end. */
  call: CallFields & { readonly isAsync: boolean; readonly record: CallRecord };
  /** It has got an instance. */
  request: CallFields & Assigned & OfInstance;
  /** Its instance has begun to answer; `firstByteMs` since the call came. */
  head: OfInstance & { readonly requestId: string; readonly status: number; readonly firstByteMs: number };
  /** Its end, or that of an attempt. */
  answer: (CallFields | Refused) & Partial<Assigned & OfInstance & Spent> & AnswerFields;
  /** It is made again: `count` of an asynchronous call, `method` of a request whose connection broke. */
  retry: { readonly requestId: string; readonly count?: number; readonly method?: string };
  /** An asynchronous call is too old for that retry. */
  expired: { readonly requestId: string; readonly count: number };
}

/** Bytes that were no request. */
interface Refused {
  readonly requestId: string;
  readonly kind: 'http';
}

/** How a call got its instance. */
export interface Assigned {
  /** From the call to the instance; of a cold start all of that which this call waited for. */
  readonly queuedMs: number;
  /** The instance was not ready yet when the call came. */
  readonly isCold: boolean;
  /** The instance stood still, and is thawed for it. */
  readonly wasFrozen: boolean;
  /** Of an asynchronous call. */
  readonly retryCount: number;
}

/** What an invocation took: of what has had an instance. */
export interface Spent {
  /** On the instance: FC's clock, and what it bills. `totalMs` is what the caller waited. */
  readonly ms: number;
  /** `ms` as FC rounds it, of this call alone: calls that share an instance are billed once for the time they share. */
  readonly billedMs: number;
  /** The most that the instance has had so far; 0 where nobody tells. */
  readonly memory: number;
  /** To and from the container, bodies alone. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** What came of a call. */
export interface AnswerFields {
  /** As the caller has it; 499: he has left. */
  readonly status: number;
  /** Since the call came; of an asynchronous one's attempts since the attempt began. */
  readonly totalMs?: number;
  readonly errorType?: string | undefined;
  /** FC's own words, of a refusal. */
  readonly message?: string;
  /** What has happened to the connection, for who looks at the platform. */
  readonly cause?: string | undefined;
  /** Who or what ended a WebSocket. */
  readonly ended?: string;
}

/** Something that happened in an instance's life, or to a call: a row of `Happenings`, which `is` tells apart. */
export interface LifeEvent {
  /** ms since the platform was started, to the hundredth. */
  readonly at: number;
  readonly event: keyof Happenings;
  /** `c-…`, the instance that it happened to. */
  readonly instance?: string;
  readonly requestId?: string;
  readonly [field: string]: unknown;
}

/** Whether it is of this kind, and has its fields. */
export const is = <K extends keyof Happenings>(
  event: LifeEvent,
  kind: K,
): event is LifeEvent & { readonly event: K } & Happenings[K] => event.event === kind;

/** @param moment - of the clock, when it happened; now unless told. What `fields` count up to it comes out with `at`. */
export type Tell = <K extends keyof Happenings>(event: K, fields: Happenings[K], moment?: number) => void;

/** What has happened so far, and what will. */
export interface Life {
  readonly events: readonly LifeEvent[];
  readonly tell: Tell;
  /** Gives what takes the listener off. */
  on(listener: (event: LifeEvent) => void): () => void;
  /** Resolves with the first event, earlier or later, that passes. Who waits sets the deadline. */
  until(test: (event: LifeEvent) => boolean): Promise<LifeEvent>;
}

/** ms from one moment of the clock to another, to the hundredth. */
export const between = (from: number, to: number): number => Math.round((to - from) * 100) / 100;

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
    tell(event, fields, moment = now()) {
      const entry: LifeEvent = { at: between(started, moment), event, ...fields };
      if (keep) events.push(entry);
      for (const listener of [...listeners]) listener(entry);
    },
    on(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
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
