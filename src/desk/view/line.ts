/** Why something failed, as a line of the log has it. */
export interface Fault {
  /** `FUNCTION_FAILED`, or the error's own name. */
  readonly code: string;
  readonly message: string;
  /** `at …` lines of where it came from, the function's own first; none of the gateway's or of Node's own. */
  readonly frames: readonly string[];
}

/** What noslate-fc says of a request that is over. @see src/log.ts */
export interface Accessed {
  readonly requestId: string;
  readonly function: string;
  /** ms, from its arrival in the container. */
  readonly firstByteMs: number | undefined;
  readonly totalMs: number;
}

/** A line that a container has printed, as a person reads it. */
export interface Line {
  readonly level: 'info' | 'warn' | 'error';
  /** Several lines where there is an error to show. */
  readonly text: string;
  /**
   * Who printed it: a function, the server about a request, the server about anything else, Node.js about debuggers, or a
   * server that is not ours.
   */
  readonly from: 'function' | 'request' | 'server' | 'debugger' | 'other';
  /** Of Noslate's functions, the one that it is about. */
  readonly function: string | undefined;
  /** The call that it names itself. */
  readonly requestId: string | undefined;
  readonly fault: Fault | undefined;
  readonly access: Accessed | undefined;
}

/** What Node.js says on stderr of debuggers, which is no complaint. */
const DEBUGGER =
  /^(Debugger (listening on|attached)|Debugger ending on|For help, see: https:\/\/nodejs\.org|Waiting for the debugger to disconnect)/;

/** Reads a line: of noslate-fc's JSON log, or of any other server's. */
export function readLine(stream: 'stdout' | 'stderr', line: string): Line {
  const entry = jsonObject(line);
  const none = { function: undefined, requestId: undefined, fault: undefined, access: undefined };
  if (typeof entry?.['message'] !== 'string') {
    if (stream === 'stderr' && DEBUGGER.test(line)) return { ...none, level: 'info', text: line, from: 'debugger' };
    return { ...none, level: stream === 'stderr' ? 'warn' : 'info', text: line, from: 'other' };
  }
  const { time: _time, level: told, message, requestId: id, function: name, ...fields } = entry;
  const of = { function: textOf(name), requestId: textOf(id) };
  if (typeof fields['worker'] === 'string' && typeof fields['stream'] === 'string') {
    const level = fields['stream'] === 'stderr' ? 'warn' : 'info';
    return { ...none, ...of, level, text: message, from: 'function' };
  }
  const level = told === 'warn' || told === 'error' ? told : 'info';
  if (message === 'request' && typeof fields['totalMs'] === 'number') {
    const { method, path, status, firstByteMs, totalMs, outcome } = fields;
    const result = outcome === 'ok' ? String(status) : `${status} ${outcome}`;
    const text = `${method} ${path} → ${result} in ${totalMs} ms`;
    const first = typeof firstByteMs === 'number' ? firstByteMs : undefined;
    const access = { requestId: of.requestId ?? '', function: of.function ?? '', firstByteMs: first, totalMs };
    return { ...none, ...of, level, text, from: 'request', access };
  }
  const { error, ...rest } = fields;
  const fault = faultOf(error);
  const details = Object.entries(rest).map(([key, value]) => `${key}=${plain(value)}`);
  const head = [message, ...(of.function === undefined || of.function === '' ? [] : [of.function]), ...details].join(
    ' ',
  );
  const text = fault === undefined ? head : [head, ...faultText(fault).map(row => `  ${row}`)].join('\n');
  return { ...none, ...of, level, text, from: 'server', fault };
}

/** A fault in lines: what, then where from. */
export const faultText = ({ code, message, frames }: Fault): readonly string[] => [
  `${code}: ${message}`,
  ...frames.map(frame => `  ${frame}`),
];

/** An error as the log has it: itself, with the stack of what it was caused by. */
function faultOf(error: unknown): Fault | undefined {
  if (!isObject(error)) return error === undefined ? undefined : { code: 'Error', message: plain(error), frames: [] };
  const chain = [error];
  for (let next = error['cause']; isObject(next); next = next['cause']) chain.push(next);
  const stack = chain.map(one => one['stack']).find(value => typeof value === 'string') as string | undefined;
  const first = textOf(error['message']) ?? '';
  const words = chain.slice(1).flatMap(one => {
    const own = textOf(one['stack']) ?? textOf(one['message']) ?? '';
    return [own.split('\n', 1)[0] ?? ''];
  });
  const plainCause = chain[chain.length - 1]?.['cause'];
  if (typeof plainCause === 'string') words.push(plainCause);
  const message = [first, ...words].filter(word => word !== '').join(': ');
  const code = textOf(error['code']) ?? /^(\w+):/.exec(stack ?? '')?.[1] ?? 'Error';
  return { code, message, frames: ownFrames(stack ?? '') };
}

/** The frames of a stack that are neither the gateway's nor Node's own. */
export function ownFrames(stack: string): string[] {
  return stack
    .split('\n')
    .map(row => row.trim())
    .filter(row => row.startsWith('at ') && !/node:|[\\/]dist[\\/]server\.js|\(native\)/.test(row));
}

function jsonObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = line.startsWith('{') ? JSON.parse(line) : undefined;
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const plain = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
