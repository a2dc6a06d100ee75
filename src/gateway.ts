import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { Agent } from './agent.ts';
import type { Config } from './config.ts';
import type { Code, GatewayError } from './errors.ts';
import type { Log } from './log.ts';
import type { Profile } from './profile.ts';
import type { Queue } from './queue.ts';
import type { Reasons } from './ready.ts';
import type { Cancellation } from './signal.ts';
import type { Summary } from './summary.ts';
import type { Table } from './table.ts';
import type { Target } from './target.ts';
import type { Trace } from './trace.ts';

/** What FC asks for with a request: a lifecycle hook, an event invoke, an HTTP trigger, or one of its health checks. */
export type Kind = 'initialize' | 'pre-freeze' | 'pre-stop' | 'event' | 'http' | 'health' | 'ready';

/** Names the function or service that a request is for. @throws {GatewayError} ROUTE_NOT_FOUND. */
export type Router = (exchange: Exchange) => Target;

/** What every request meets: the settings, and the state of the process. */
export interface Gateway {
  readonly config: Config;
  readonly log: Log;
  /** Undefined until functions can be invoked. */
  agent: Agent | undefined;
  /** Resolves with `agent`. */
  readonly ready: Promise<Agent>;
  router: Router;
  /** What `router` was made of. */
  profile: Profile;
  /** Readings of the profile after the first, and whether the last one gave one that counts. */
  readonly reloads: { total: number; succeeded: boolean };
  /** What the log says of many invocations at once. */
  readonly summary: Summary;
  /** What is counted for the admin port; undefined without one. */
  metrics: Metrics | undefined;
  /** Sends what invocations were to a collector; undefined without one. */
  traces: Traces | undefined;
  /** The instance has let an invocation in: the next is no cold start. */
  hasInvoked: boolean;
  /** True from SIGTERM or `/pre-stop` on: new invocations are refused. */
  draining: boolean;
  /** Invocations that were let in and have not been answered to the end. */
  readonly invocations: Table<Exchange>;
  /** Has those of them wait that are more than `maxConcurrency`. */
  readonly queue: Queue;
  /** Why an instance should get no calls now; nothing when it should. */
  readiness(): Promise<Reasons>;
  /** Refuses new invocations, and resolves when those in flight are answered or `drainTimeout` has passed. */
  drain(): Promise<void>;
  /** Ends the process, with 0. */
  stop(): void;
}

/** Counts what happens, for the admin port. */
export interface Metrics {
  /** A request's turn has come. */
  begin(): void;
  end(exchange: Exchange, outcome: Outcome): void;
  /** Bytes that are no request were answered. */
  refuse(code: Code): void;
  /** A connection was closed unread: there were too many of its address, or in all. */
  refuseConnection(reason: 'address' | 'all'): void;
  /** In Prometheus' text format 0.0.4, or as OpenMetrics 1.0.0. */
  text(isOpen: boolean): string;
}

/** Sends spans of invocations to a collector. */
export interface Traces {
  /** An invocation is over. It is sent if its trace is sampled, with others. */
  end(exchange: Exchange, outcome: Outcome, totalMs: number): void;
  /**
   * Sends what is held. Resolves when it has arrived, or could not, or after a second.
   *
   * @param isEnd - what has not arrived by then never will.
   */
  flush(isEnd: boolean): Promise<void>;
}

/** One request and its response, and what the access line says of them. */
export interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly kind: Kind;
  /** In origin form, without FC 2.0's proxy prefix. */
  readonly url: string;
  /** Host and port of a request in absolute form, where they count and `Host` does not (RFC 9112 §3.2.2). */
  readonly authority: string | undefined;
  /** FC's, else one of the same form. */
  readonly requestId: string;
  /** `now()` at arrival. */
  readonly startedAt: number;
  /** The moment of `now()` by which the function must have given its head. */
  readonly deadline: number;
  /** Fires with a GatewayError when the client has gone or the gateway gave up. */
  readonly cancellation: Cancellation;
  /** Of an invocation, if it belongs to one. */
  readonly trace: Trace | undefined;
  /** Its number among the invocations, once it is let in; 0 before. */
  invocation: number;
  /** What runs, once it is known: `NAME` of a function or `service:NAME`. */
  function: string;
  /** Which worker of it, where the agent can know. */
  worker: string | undefined;
  /** The path of the route that matched, as the profile has it; empty where none did. */
  route: string;
  /** It is the instance's first invocation. */
  isCold: boolean;
  /**
   * The connection ends with its answer. With `Upgrade` it must: whatever the client sent behind such a request, node:http
   * drops as being of another protocol.
   */
  readonly isLast: boolean;
  /** It is one of those that run, of `maxConcurrency`. */
  hasPlace: boolean;
  /** ms for which it has waited for a place. */
  queuedMs: number | undefined;
  /** ms from arrival until the agent was given it; undefined unless the client is to be told. */
  handedMs: number | undefined;
  bytesIn: number;
  bytesOut: number;
  /** The answer's body, while it is being sent. */
  body: Readable | undefined;
  /** For an answer of server-sent events: whether what was sent ends with a whole one. */
  isBetweenEvents: boolean | undefined;
  /** ms from arrival to the head; undefined before it. */
  firstByteMs: number | undefined;
  /** The failure, if it came to one. */
  error: GatewayError | undefined;
}

/** How an exchange ended, for the access line. */
export type Outcome = 'ok' | 'client gone' | `error ${Code}`;
