/** FC's methods of an HTTP trigger. */
export const METHODS: readonly string[] = ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'PATCH', 'OPTIONS'];

/** The two generations of Function Compute: 2.0 has services and pre-freeze, 3.0 has neither. */
export type Flavour = '2.0' | '3.0';

/** What a deployment says of a function, in FC's words. Times are seconds, sizes as each says. */
export interface FunctionSettings {
  readonly flavour: Flavour;
  /** The container's start command. The word `PORT` in an argument stands for the port to listen on. */
  readonly command: readonly string[];
  /** Working directory of the command. */
  readonly cwd: string;
  /** Variables of the container besides FC's own and PATH and the like. */
  readonly environment: Readonly<Record<string, string>>;
  readonly name: string;
  /** 2.0 only. */
  readonly service: string;
  readonly region: string;
  readonly accountId: string;
  /** An invocation's limit. */
  readonly timeout: number;
  /** MB. */
  readonly memory: number;
  /** vCPU. */
  readonly cpu: number;
  /** Requests that one instance takes at a time. */
  readonly instanceConcurrency: number;
  /** Instances that the quota allows; calls above it get 429. */
  readonly maxInstances: number;
  /** The start: from the process to the open port. */
  readonly startTimeout: number;
  /** An instance without calls is stopped after it; 0 is never. */
  readonly idleTimeout: number;
  /** Hooks are called only when configured. */
  readonly initializer: Hook | undefined;
  /** 2.0 only. */
  readonly preFreeze: Hook | undefined;
  readonly preStop: Hook | undefined;
  readonly healthCheck: HealthCheck | undefined;
  /** Methods of the HTTP trigger. */
  readonly methods: readonly string[];
  /** A role is set: the container gets credentials. Without one FC sends the headers empty. */
  readonly role: boolean;
  /** `default` is `*.fcapp.run`, which forbids redirects and makes browsers download. */
  readonly domain: 'custom' | 'default';
  /** Retries of an asynchronous call. */
  readonly asyncRetries: number;
  /** Age of an asynchronous call above which it is not made again. */
  readonly asyncMaxAge: number;
  /** False leaves idle instances running, as provisioned ones with `alwaysAllocateCPU`. */
  readonly freeze: boolean;
  /** An instance's port; 0 takes a free one. */
  readonly port: number;
  /** Whether limits of time and freezes wait, as while a debugger is attached. */
  readonly isHeld: () => boolean;
  /** 3.0 only. Calls of one session go to one instance, which takes as many calls as FC allows. */
  readonly sessionAffinity: SessionAffinity | undefined;
  readonly switches: Switches;
}

/** How calls of one session are known, and how long one lasts. @see FC contract §6, S42 */
export interface SessionAffinity {
  /** `cookie`: FC's own. `header`: one of the user's choice. `mcp`: MCP's, of its Streamable HTTP. */
  readonly by: 'cookie' | 'header' | 'mcp';
  /** The chosen header's name; of `header` alone. */
  readonly header: string;
  /** Sessions that an instance may have. */
  readonly perInstance: number;
  /** From its first call, s. */
  readonly ttl: number;
  /** From the end of its last call, s. */
  readonly idle: number;
}

/** FC's own defaults of session affinity. */
export const SESSION_AFFINITY: Omit<SessionAffinity, 'by'> = { header: '', perInstance: 20, ttl: 21_600, idle: 1800 };

/** What FC makes of a function's concurrency when it has session affinity. */
export const SESSION_CONCURRENCY = 200;

/** A lifecycle hook that is configured. */
export interface Hook {
  readonly timeout: number;
}

/** @see FC contract §1.2 */
export interface HealthCheck {
  readonly httpGetUrl: string;
  readonly initialDelaySeconds: number;
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly failureThreshold: number;
  readonly successThreshold: number;
}

/** FC's own defaults of a health check. */
export const HEALTH_CHECK: Omit<HealthCheck, 'httpGetUrl'> = {
  initialDelaySeconds: 0,
  periodSeconds: 3,
  timeoutSeconds: 1,
  failureThreshold: 3,
  successThreshold: 1,
};

interface Switch {
  /** What it may be; a number stands for any whole number ≥ 0. */
  readonly values: readonly [number] | readonly [string, ...string[]];
  /** Where the flavours differ, by flavour. */
  readonly default: number | string | Readonly<Record<Flavour, string>>;
  readonly meaning: string;
}

const one = (meaning: string, value: number): { values: readonly [number]; default: number; meaning: string } => ({
  values: [0],
  default: value,
  meaning,
});

/** What is not certain of FC (contract §13, in its order), and may be played either way. */
export const SWITCHES = {
  startErrorStatus: one('status of FunctionNotStarted and CAExited', 412),
  permissionError: {
    values: ['CAExited', 'CAFilePermission'],
    default: 'CAExited',
    meaning: 'code for a start command that may not be executed',
  },
  hookTimeoutMax: one('seconds a pre-freeze or pre-stop gets at most; 0 is what was configured', 0),
  initFailure: {
    values: ['discard', 'keep'],
    default: 'discard',
    meaning: 'an instance whose initializer failed is discarded, or kept and initialized again with the next call',
  },
  initErrorStatus: one('status of an HTTP trigger when the initializer failed', 200),
  plainFailure: {
    values: ['success', 'error'],
    default: 'success',
    meaning: 'what an event answered with neither 2xx nor x-fc-status counts as',
  },
  timeoutStatus: one('status of an HTTP trigger when the function timed out', 504),
  timeoutKills: { values: ['no', 'yes'], default: 'no', meaning: 'whether a timeout ends the instance' },
  clientCancel: {
    values: ['reset', 'close', 'finish'],
    default: 'reset',
    meaning: 'what becomes of the connection to the container when the client leaves',
  },
  sigterm: { values: ['yes', 'no'], default: 'yes', meaning: 'whether SIGTERM comes before SIGKILL' },
  stopGrace: one('seconds between SIGTERM and SIGKILL', 15),
  maxResponse: one('bytes of response body; 0 is no limit', 0),
  probeHeaders: {
    values: ['none', 'common'],
    default: 'none',
    meaning: 'x-fc-* headers of a health check',
  },
  hookHeaders: {
    values: ['common', 'few'],
    default: 'common',
    meaning: 'x-fc-* headers of pre-freeze and pre-stop; few: request id and control path',
  },
  tracing: {
    values: ['empty', 'on', 'absent'],
    default: { '2.0': 'absent', '3.0': 'empty' },
    meaning: 'tracing headers',
  },
  basePath: {
    values: ['path', 'prefix', 'absent'],
    default: { '2.0': 'prefix', '3.0': 'path' },
    meaning: 'x-fc-base-path: the whole path, the 2016-08-15 proxy prefix, or none',
  },
  credentials: {
    values: ['fixed', 'rotating'],
    default: 'fixed',
    meaning: 'whether the credentials in headers change from call to call',
  },
  webSocketIdle: one('seconds after which a silent WebSocket is cut; 0 is never', 0),
  webSocketFrame: one('bytes of payload a WebSocket frame may have; 0 is no limit', 0),
  logLine: one('bytes after which a line of the log is cut; 0 is never', 0),
  reservedHeaders: {
    values: ['drop', 'reject'],
    default: 'drop',
    meaning: 'a reserved header in a response is dropped, or the response refused with 502',
  },
  pooledIdle: one('seconds after which FC closes an idle connection; 0 is never', 0),
  requestId: {
    values: ['uuid', '8-8-12', '8-24'],
    default: { '2.0': 'uuid', '3.0': '8-8-12' },
    meaning: 'form of a request id',
  },
  initializeId: {
    values: ['shared', 'own'],
    default: { '2.0': 'shared', '3.0': 'own' },
    meaning: 'whether initialize has the request id of the call that it is for',
  },
  headerCase: {
    values: ['lower', 'canonical'],
    default: 'canonical',
    meaning: 'x-fc-request-id or X-Fc-Request-Id',
  },
  probeEnd: { values: ['fin', 'rst'], default: 'fin', meaning: 'how the TCP probe leaves' },
} as const satisfies Record<string, Switch>;

type Values<S extends Switch> = S['values'] extends readonly [number] ? number : S['values'][number];

/** The value of each switch. */
export type Switches = { readonly [K in keyof typeof SWITCHES]: Values<(typeof SWITCHES)[K]> };

/** Every switch as it is by default. */
export function defaultSwitches(flavour: Flavour): Switches {
  const entries = Object.entries<Switch>(SWITCHES).map(([name, { default: value }]) => [
    name,
    typeof value === 'object' ? value[flavour] : value,
  ]);
  return Object.fromEntries(entries) as Switches;
}

/**
 * Reads `name=value` pairs.
 *
 * @throws {Error} naming the switch and what is allowed.
 */
export function parseSwitches(pairs: readonly string[]): Partial<Switches> {
  const table: Readonly<Record<string, Switch>> = SWITCHES;
  const switches: Record<string, number | string> = {};
  for (const pair of pairs) {
    const [name = '', value = ''] = pair.split(/=(.*)/s);
    const known = Object.hasOwn(table, name) ? table[name] : undefined;
    if (known === undefined) throw new Error(`switch "${name}": expected one of ${Object.keys(table).join(', ')}`);
    const number = typeof known.values[0] === 'number';
    const good = number ? /^\d+$/.test(value) : (known.values as readonly string[]).includes(value);
    if (!good) {
      const expected = number ? 'a whole number ≥ 0' : known.values.join(' or ');
      throw new Error(`switch "${name}": expected ${expected}, got "${value}"`);
    }
    switches[name] = number ? Number(value) : value;
  }
  return switches as Partial<Switches>;
}

/** What differs from the defaults of a function; of the switches too. */
export interface FunctionOptions
  extends Partial<Omit<FunctionSettings, 'switches' | 'healthCheck' | 'sessionAffinity'>> {
  readonly command: readonly string[];
  readonly switches?: Partial<Switches>;
  readonly healthCheck?: Partial<HealthCheck> & { readonly httpGetUrl: string };
  readonly sessionAffinity?: Partial<SessionAffinity> & Pick<SessionAffinity, 'by'>;
}

/** Fills in what was not said, with FC's defaults where it has any. */
export function functionSettings({
  healthCheck,
  sessionAffinity,
  switches,
  ...options
}: FunctionOptions): FunctionSettings {
  const flavour = options.flavour ?? '3.0';
  if (flavour === '3.0' && options.preFreeze !== undefined) {
    throw new Error('preFreeze: expected no such hook in 3.0, which has dropped it');
  }
  if (flavour === '2.0' && sessionAffinity !== undefined) {
    throw new Error('sessionAffinity: expected none in 2.0, which does not know it');
  }
  return {
    flavour,
    cwd: process.cwd(),
    environment: {},
    name: 'app',
    service: 'service',
    region: 'cn-hangzhou',
    accountId: '1234567890123456',
    timeout: 60,
    memory: 512,
    cpu: 0.35,
    instanceConcurrency: 1,
    maxInstances: 100,
    startTimeout: 120,
    idleTimeout: 0,
    initializer: undefined,
    preFreeze: undefined,
    preStop: undefined,
    methods: METHODS,
    role: true,
    domain: 'custom',
    asyncRetries: 3,
    asyncMaxAge: 86_400,
    freeze: true,
    port: 0,
    isHeld: () => false,
    ...options,
    ...(sessionAffinity && { instanceConcurrency: SESSION_CONCURRENCY }),
    sessionAffinity: sessionAffinity && { ...SESSION_AFFINITY, ...sessionAffinity },
    healthCheck: healthCheck && { ...HEALTH_CHECK, ...healthCheck },
    switches: { ...defaultSwitches(flavour), ...switches },
  };
}
