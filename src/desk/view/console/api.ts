/*
 * What the console's page and the console say to each other; types alone, for both sides. Times are ms since the platform
 * started (`at`) or lengths in ms (`…Ms`), sizes bytes, memory MB. Secrets are masked before they get here.
 *
 *   GET  /api/events                  server-sent events: one `snapshot`, then `batch`es, at most one each 50 ms
 *   GET  /api/calls/ID                CallDetail
 *   GET  /api/instances/ID/log?after  LogPage
 *   GET  /api/costs                   Costs
 *   POST /api/send                    Sending → Sent
 *   POST /api/calls/ID/replay         {} or what is to be different → Sent
 *   POST /api/instances/ID/ACTION     freeze, thaw, crash, stop → {}
 *   POST /api/scale                   { count } → {}
 *   POST /api/redeploy                {} → {}
 *
 * What is refused is answered with 4xx and `Refusal`.
 */

/** `event: snapshot`. All there is, again after each reconnection. */
export interface Snapshot {
  /** Epoch ms of the moment 0. */
  readonly startedAt: number;
  /** When this was made. */
  readonly now: number;
  readonly about: About;
  /** Those that run, and the last that ended. */
  readonly instances: readonly InstanceRow[];
  /** Of these instances, in order of time. */
  readonly phases: readonly PhaseRow[];
  /** The last thousand, in the order in which they came. */
  readonly calls: readonly CallRow[];
  /** In the order in which they were first seen. */
  readonly findings: readonly Finding[];
}

/** `event: batch`. What has changed since: whole rows, each in its last state. */
export interface Batch {
  readonly now: number;
  readonly instances: readonly InstanceRow[];
  readonly phases: readonly PhaseRow[];
  readonly calls: readonly CallRow[];
  /** Calls that came and went, and are not among `calls`: there were too many of them for one batch. */
  readonly omitted: number;
  readonly findings: readonly Finding[];
}

/** What is played: settled at the start. */
export interface About {
  readonly version: string;
  /** `3.0` or `2.0`. */
  readonly flavour: string;
  readonly name: string;
  /** Where FC can be reached; without a path. */
  readonly url: string;
  /** InvokeFunction's address. */
  readonly invoke: string;
  /** What the function has been given, in order, for who looks: `['memory', '512 MB']`. */
  readonly settings: readonly (readonly [name: string, value: string])[];
  readonly memory: number;
  /** vCPU. */
  readonly cpu: number;
  /** s. */
  readonly timeout: number;
  readonly instanceConcurrency: number;
  readonly maxInstances: number;
  /** Of Noslate's functions in noslate.json; none with another server. */
  readonly functions: readonly string[];
  /** Lines that can be pasted into a terminal, each a call that works. */
  readonly curls: readonly string[];
  /** The file that the function is deployed by, what it was not possible to take from it. */
  readonly deployment: { readonly file: string; readonly remarks: readonly string[] } | undefined;
  readonly templates: readonly EventTemplate[];
  readonly timers: readonly Timer[];
}

/** An event of one of FC's triggers. */
export interface EventTemplate {
  readonly name: string;
  readonly meaning: string;
  /** JSON, indented. */
  readonly payload: string;
}

/** A timer that the function is deployed with. */
export interface Timer {
  readonly name: string;
  /** A cron expression or `@every 4m`, as it stands in the file. */
  readonly schedule: string;
  readonly payload: string;
}

/** What an instance is doing. `accepting`: its port is open; `initializing`: it is, and the initializer runs. */
export type Phase = 'starting' | 'accepting' | 'initializing' | 'ready' | 'frozen' | 'stopping' | 'exited';

/** From `at` on an instance is in this phase. */
export interface PhaseRow {
  readonly instance: string;
  readonly at: number;
  readonly phase: Phase;
}

/** An instance as it is now. */
export interface InstanceRow {
  /** `c-…` */
  readonly id: string;
  readonly port: number;
  readonly pid: number;
  /** When its process was started. */
  readonly at: number;
  readonly phase: Phase;
  readonly healthy: boolean;
  readonly inFlight: number;
  /** How many it has served. */
  readonly served: number;
  /** From the process to ready. */
  readonly startMs: number | undefined;
  /** MB of all its processes, now and at most; 0 where nobody tells. */
  readonly memory: number;
  readonly peakMemory: number;
  /** ms of CPU that its processes have used; 0 where nobody tells. */
  readonly cpuMs: number;
  /** Of what it has printed. */
  readonly lines: number;
  /** How the ids of those begin that it has, the last one last; undefined of a function without session affinity. */
  readonly sessions?: readonly string[] | undefined;
  readonly end: InstanceEnd | undefined;
}

/** How an instance has ended. */
export interface InstanceEnd {
  readonly at: number;
  /** False: nobody asked for it; it has crashed. */
  readonly expected: boolean;
  /** `with code 1`, `by SIGKILL`. */
  readonly how: string;
  /** Why it was stopped, if it was: `idle`, `scaled in`, `code changed`, … */
  readonly reason: string | undefined;
}

/** A call as it is now. What is not known yet is undefined, and is left out of JSON. */
export interface CallRow {
  readonly id: string;
  readonly kind: 'event' | 'http' | 'websocket';
  readonly method?: string | undefined;
  /** With the query. */
  readonly path?: string | undefined;
  /** The function of Noslate's that had it. */
  readonly function?: string | undefined;
  readonly isAsync: boolean;
  /** When it came. */
  readonly at: number;
  readonly isDone: boolean;
  readonly instance?: string | undefined;
  /** How often it has been made again. */
  readonly retries: number;
  /** From the call to its instance. */
  readonly queuedMs?: number | undefined;
  readonly isCold: boolean;
  readonly wasFrozen: boolean;
  /** Since the call came, until its answer began. */
  readonly firstByteMs?: number | undefined;
  /** What the caller waited, to the last byte. Of an asynchronous call, from the acceptance to the end of the last attempt. */
  readonly totalMs?: number | undefined;
  readonly billedMs?: number | undefined;
  readonly memory?: number | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** As the caller has it; 499: he has left. */
  readonly status?: number | undefined;
  readonly errorType?: string | undefined;
  /** Why it failed, in one line. */
  readonly message?: string | undefined;
}

/** A call with all that is kept of it. */
export interface CallDetail {
  readonly call: CallRow;
  /** They follow each other, and add up to `totalMs`, or to what has passed so far. */
  readonly parts: readonly Part[];
  /** Undefined: let go, to keep what the desk holds within bounds. */
  readonly record: CallRecordView | undefined;
  readonly failure: Failure | undefined;
  /** Those that are put down to this call. */
  readonly lines: readonly LogRow[];
  /** A line for a terminal that makes the call again; undefined where nothing can. */
  readonly curl: string | undefined;
  /** Why it cannot be made again. */
  readonly notReplayable: string | undefined;
  /** Of FC's contract, what this call breaks. */
  readonly findings: readonly Finding[];
}

/** A stretch of a call's time. */
export interface Part {
  readonly name:
    | 'earlier attempts'
    | 'queued'
    | 'instance start'
    | 'initializer'
    | 'thaw'
    | 'gateway'
    | 'function'
    | 'body';
  /** Since the call came. */
  readonly fromMs: number;
  readonly ms: number;
}

/** What was sent and answered. */
export interface CallRecordView {
  /** As the client sent it. */
  readonly sent: HeadView;
  /** As the function's server got it. */
  readonly request: HeadView | undefined;
  readonly requestBody: BodyView;
  /** As the function's server gave it. */
  readonly response: HeadView | undefined;
  /** As the caller got it. */
  readonly answer: HeadView | undefined;
  readonly responseBody: BodyView;
}

/** The head of a request or of an answer. */
export interface HeadView {
  /** `GET /path`, or `200 OK`. */
  readonly line: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** A body, as far as it is kept. */
export interface BodyView {
  /** Of all of it. */
  readonly bytes: number;
  /** Its first bytes, at most 64 KiB. */
  readonly base64: string;
}

/** Why a call failed. */
export interface Failure {
  /** `FUNCTION_FAILED`, `UnhandledInvocationError`, … */
  readonly code: string;
  readonly message: string;
  /** Where the function threw: its own frames first, none of the gateway's. */
  readonly stack: readonly string[];
}

/** A line that an instance has printed. */
export interface LogRow {
  readonly at: number;
  readonly stream: 'stdout' | 'stderr';
  readonly level: 'info' | 'warn' | 'error';
  /** As a person reads it. */
  readonly text: string;
  readonly requestId: string | undefined;
}

/** A piece of an instance's log. */
export interface LogPage {
  readonly rows: readonly LogRow[];
  /** To ask after. */
  readonly next: number;
  /** Lines before the first of these that were let go, or are more than one page holds. */
  readonly skipped: number;
}

/** Something that FC will not like, or that is lost there. */
export interface Finding {
  /** The same for the same kind at the same place. */
  readonly id: string;
  readonly severity: 'error' | 'warning';
  readonly title: string;
  /** What was seen, and where. */
  readonly detail: string;
  /** The contract's sentence. */
  readonly contract: string;
  /** What to do. */
  readonly mend: string;
  readonly count: number;
  /** The last call it was seen in. */
  readonly call: string | undefined;
  /** When that was. */
  readonly at: number;
}

/** What a run has cost, and would have. */
export interface Costs {
  readonly calls: number;
  readonly failed: number;
  readonly coldStarts: number;
  readonly all: Quantiles;
  readonly warm: Quantiles;
  readonly cold: Quantiles;
  /** Of all instances: frozen; awake with nothing to do; with at least one call. */
  readonly frozenMs: number;
  readonly idleMs: number;
  readonly busyMs: number;
  /** What FC bills: busy time, each stretch rounded up, and that of initializers. */
  readonly billedMs: number;
  readonly gbSeconds: number;
  readonly vcpuSeconds: number;
  readonly per1000: { readonly billedMs: number; readonly gbSeconds: number; readonly vcpuSeconds: number } | undefined;
  /** What other settings would have made of the calls that are kept. */
  readonly others: readonly Otherwise[];
}

/** ms; undefined without calls. */
export interface Quantiles {
  readonly count: number;
  readonly p50: number | undefined;
  readonly p99: number | undefined;
}

/** The same calls at another concurrency. */
export interface Otherwise {
  readonly instanceConcurrency: number;
  /** Whether it is what is set. */
  readonly isSet: boolean;
  readonly calls: number;
  /** At most at a time. */
  readonly instances: number;
  readonly coldStarts: number;
  readonly p50: number | undefined;
  readonly p99: number | undefined;
  readonly billedMs: number;
  readonly gbSeconds: number;
}

/** A call that the page asks for. */
export type Sending =
  | {
      readonly kind: 'http';
      readonly method: string;
      readonly path: string;
      readonly headers: readonly (readonly [name: string, value: string])[];
      readonly body: SentBody;
      readonly isAsync: boolean;
    }
  | { readonly kind: 'event'; readonly body: SentBody; readonly isAsync: boolean };

/** Text as it stands, or bytes. */
export type SentBody = { readonly text: string } | { readonly base64: string };

/** What is to be different when a call is made again; `***` in a header stands for what was sent. */
export interface Change {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly body?: SentBody;
}

/** The call has been made; what comes of it is told with its id. */
export interface Sent {
  readonly id: string;
}

/** Why something was not done. */
export interface Refusal {
  readonly error: string;
}
