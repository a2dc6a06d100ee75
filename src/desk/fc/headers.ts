import { randomBytes, randomUUID } from 'node:crypto';
import type { FunctionSettings } from './settings.ts';

/** Name and value, in the order and case of the wire. */
export type HeaderPairs = readonly (readonly [string, string])[];

/** What FC calls the container for. */
export type ControlPath = '/initialize' | '/invoke' | '/http-invoke' | '/pre-freeze' | '/pre-stop';

/** A request id as FC makes them: a UUID, or `1-<unix seconds>-<8>-<12>` in hex, or the older `1-<8>-<24>`. */
export function requestId({ switches }: FunctionSettings): string {
  if (switches.requestId === 'uuid') return randomUUID();
  const seconds = Math.floor(Date.now() / 1000)
    .toString(16)
    .padStart(8, '0');
  const rest = randomBytes(switches.requestId === '8-24' ? 12 : 10).toString('hex');
  return switches.requestId === '8-24' ? `1-${seconds}-${rest}` : `1-${seconds}-${rest.slice(0, 8)}-${rest.slice(8)}`;
}

/** An instance's name, as FC's. */
export function instanceId(): string {
  const hex = randomBytes(14).toString('hex');
  return `c-${hex.slice(0, 8)}-${hex.slice(8, 16)}-${hex.slice(16)}`;
}

/** Credentials of the form that STS gives. They open nothing. */
function credentials(salt: string): { id: string; secret: string; token: string } {
  const text = Buffer.from(`canary ${salt} `.repeat(60)).toString('base64').replace(/[+/=]/g, '');
  return { id: `STS.NT${text.slice(0, 23)}`, secret: text.slice(23, 67), token: `CAIS${text.slice(67, 700)}` };
}

const FIXED = credentials('fixed');

/** Those that the developer has given the container, to try what really opens something; FC's role would give the like. */
function ownCredentials({ environment: own }: FunctionSettings): typeof FIXED | undefined {
  const { ALIBABA_CLOUD_ACCESS_KEY_ID: id, ALIBABA_CLOUD_ACCESS_KEY_SECRET: secret } = own;
  if (id === undefined || secret === undefined) return undefined;
  return { id, secret, token: own['ALIBABA_CLOUD_SECURITY_TOKEN'] ?? '' };
}

/** What must never be seen outside the container: in no log, no error, no answer. */
export const FIXED_CREDENTIALS: readonly string[] = [FIXED.id, FIXED.secret, FIXED.token];

/** Variables that FC gives a container. @see FC contract §8 */
export function environment(settings: FunctionSettings, instance: string, port: number): Record<string, string> {
  const { flavour, role, service } = settings;
  const generation: Record<string, string> =
    flavour === '2.0'
      ? {
          FC_SERVICE_NAME: service,
          FC_QUALIFIER: 'LATEST',
          ...(role && { accessKeyID: FIXED.id, accessKeySecret: FIXED.secret, securityToken: FIXED.token }),
        }
      : {};
  return {
    FC_FUNC_CODE_PATH: '/code',
    FC_ACCOUNT_ID: settings.accountId,
    FC_REGION: settings.region,
    FC_FUNCTION_NAME: settings.name,
    FC_FUNCTION_HANDLER: 'index.handler',
    FC_FUNCTION_MEMORY_SIZE: String(settings.memory),
    FC_CUSTOM_LISTEN_PORT: String(port),
    FC_INSTANCE_ID: instance,
    ...(role && {
      ALIBABA_CLOUD_ACCESS_KEY_ID: FIXED.id,
      ALIBABA_CLOUD_ACCESS_KEY_SECRET: FIXED.secret,
      ALIBABA_CLOUD_SECURITY_TOKEN: FIXED.token,
    }),
    ...generation,
  };
}

/** What else the headers of one request depend on. */
export interface Occasion {
  readonly requestId: string;
  readonly controlPath: ControlPath;
  /** The path as the client gave it, without query; of HTTP triggers only. */
  readonly path?: string;
  /** Of asynchronous calls. */
  readonly retryCount?: number;
}

/** The longest limit that FC knows, s. */
const MOST_SECONDS = 86_400;

/** The `x-fc-*` headers of a request. @see FC contract §3 */
export function commonHeaders(settings: FunctionSettings, occasion: Occasion): HeaderPairs {
  const { flavour, switches } = settings;
  const { controlPath } = occasion;
  const hook = controlPath === '/pre-freeze' || controlPath === '/pre-stop';
  if (hook && switches.hookHeaders === 'few') {
    return inCase(settings, { 'x-fc-request-id': occasion.requestId, 'x-fc-control-path': controlPath });
  }
  const { id, secret, token } = !settings.role
    ? { id: '', secret: '', token: '' }
    : (ownCredentials(settings) ?? (switches.credentials === 'fixed' ? FIXED : credentials(occasion.requestId)));
  const headers: Record<string, string> = {
    'x-fc-request-id': occasion.requestId,
    'x-fc-control-path': controlPath,
    'x-fc-access-key-id': id,
    'x-fc-access-key-secret': secret,
    'x-fc-security-token': token,
    'x-fc-function-name': settings.name,
    'x-fc-function-handler': 'index.handler',
    'x-fc-function-memory': String(settings.memory),
    'x-fc-function-timeout': String(settings.isHeld() ? MOST_SECONDS : settings.timeout),
    'x-fc-region': settings.region,
    'x-fc-account-id': settings.accountId,
    'x-fc-qualifier': 'LATEST',
    'x-fc-version-id': '',
    'x-fc-service-name': flavour === '2.0' ? settings.service : '',
    'x-fc-service-logproject': flavour === '2.0' ? 'project' : '',
    'x-fc-service-logstore': flavour === '2.0' ? 'store' : '',
  };
  // the hooks' headers: of every call in 2.0, of the hook's own in 3.0
  if (settings.initializer !== undefined && (flavour === '2.0' || controlPath === '/initialize')) {
    headers['x-fc-function-initializer'] = 'true';
    headers['x-fc-initialization-timeout'] = String(settings.initializer.timeout);
  }
  if (settings.preStop !== undefined && (flavour === '2.0' || controlPath === '/pre-stop')) {
    headers['x-fc-instance-lifecycle-pre-stop-handler'] = 'true';
  }
  if (settings.preFreeze !== undefined) headers['x-fc-instance-lifecycle-pre-freeze-handler'] = 'true';
  if (controlPath === '/invoke' || controlPath === '/http-invoke') {
    headers['x-fc-retry-count'] = String(occasion.retryCount ?? 0);
    Object.assign(headers, tracing(settings, occasion));
  }
  if (controlPath === '/http-invoke') {
    const base = basePath(settings, occasion.path ?? '/');
    if (base !== undefined) headers['x-fc-base-path'] = base;
    headers['x-fc-client-ip'] = '';
    headers['x-fc-api-server-ip'] = '';
  }
  return inCase(settings, headers);
}

function tracing({ switches }: FunctionSettings, { requestId: id }: Occasion): Record<string, string> {
  if (switches.tracing === 'absent') return {};
  const trace = switches.tracing === 'on' ? id.replace(/[^0-9a-f]/g, '').slice(-16) : '';
  return {
    'x-fc-eagleeye-traceid': '',
    'x-fc-eagleeye-rpcid': '',
    'x-fc-eagleeye-userdata': '',
    'x-fc-tracing-opentracing-span-context': trace && `${trace}:${trace}:0:1`,
    'x-fc-tracing-opentracing-span-baggages': trace && 'e30=',
    'x-fc-tracing-jaeger-endpoint': trace && 'http://tracing.invalid/adapt_canary-token/api/traces',
  };
}

/** The form of 2.0's public address that names service and function in the path. */
const PROXY = /^\/2016-08-15\/proxy\/[^/]+\/[^/]+/;

function basePath({ switches }: FunctionSettings, path: string): string | undefined {
  if (switches.basePath === 'absent') return undefined;
  return switches.basePath === 'path' ? path : (PROXY.exec(path)?.[0] ?? '');
}

function inCase({ switches }: FunctionSettings, headers: Readonly<Record<string, string>>): HeaderPairs {
  const pairs = Object.entries(headers);
  if (switches.headerCase === 'lower') return pairs;
  return pairs.map(([name, value]) => [name.replace(/(^|-)[a-z]/g, letter => letter.toUpperCase()), value]);
}

const FROM_CLIENT = new Set(['connection', 'keep-alive', 'transfer-encoding', 'proxy-connection', 'upgrade', 'te']);
const CONTROL = new Set(['x-fc-invocation-type', 'x-fc-log-type', 'x-fc-async-task-id']);

/** What of a client's headers reaches the container: neither `x-fc-*` of its own making nor those of the connection. */
export function fromClient(headers: HeaderPairs): HeaderPairs {
  return headers.filter(([name]) => {
    const lower = name.toLowerCase();
    return !FROM_CLIENT.has(lower) && (!lower.startsWith('x-fc-') || CONTROL.has(lower));
  });
}

const RESERVED = new Set(['connection', 'content-length', 'date', 'keep-alive', 'server', 'transfer-encoding']);

/** True for a header that a function's response may not carry. @see FC contract §4.2 */
export function isReserved(
  { flavour }: Pick<FunctionSettings, 'flavour'>,
  [name, value]: readonly [string, string],
): boolean {
  const lower = name.toLowerCase();
  return (
    RESERVED.has(lower) ||
    lower.startsWith('x-fc-') ||
    (lower === 'upgrade' && flavour === '3.0') ||
    (lower === 'content-disposition' && /^\s*attachment/i.test(value))
  );
}

/** What node:http and every other server sends, and FC replaces without a word; and `x-fc-status`, which is for FC. */
export const HARMLESS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'server',
  'transfer-encoding',
  'x-fc-status',
]);

/** Name and value pairs of node:http's flat list. */
export function pairs(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1] ?? ''] as [string, string]] : []));
}

/** The first value of a header. */
export function header(headers: HeaderPairs, wanted: string): string | undefined {
  return headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
}
