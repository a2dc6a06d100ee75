import type { IncomingMessage } from 'node:http';
import { now } from '../../clock.ts';
import type { Connections, Exchange } from './connections.ts';
import { deadline } from './deadline.ts';
import { type ControlPath, commonHeaders } from './headers.ts';
import type { FunctionSettings } from './settings.ts';

/** What of a hook's answer an error may quote. */
const MAX_BODY = 1024;

/** What FC has got from a container that it asked itself; status 0 is no answer. */
export interface Reply {
  readonly status: number;
  readonly body: string;
  readonly ms: number;
}

/** Asks a container something of FC's own: no call. Gives up after so many ms. */
export async function ask(
  { connections, port }: { readonly connections: Connections; readonly port: number },
  method: string,
  path: string,
  headers: Exchange['headers'],
  ms: number,
  isHeld: FunctionSettings['isHeld'],
): Promise<Reply> {
  const begun = now();
  const controller = new AbortController();
  const stopClock = deadline(ms, isHeld, () => controller.abort());
  const length: Exchange['headers'] = method === 'POST' ? [['Content-Length', '0']] : [];
  try {
    const response = await connections.exchange({
      method,
      path,
      headers: [['Host', `21.0.0.1:${port}`], ...headers, ...length],
      signal: controller.signal,
    });
    const body = await text(response, MAX_BODY);
    return { status: response.statusCode ?? 0, body, ms: Math.round(now() - begun) };
  } catch {
    return { status: 0, body: '', ms: Math.round(now() - begun) };
  } finally {
    stopClock();
  }
}

/** Calls a lifecycle hook, which has so many seconds. */
export function callHook(
  settings: FunctionSettings,
  container: { readonly connections: Connections; readonly port: number },
  path: ControlPath,
  requestId: string,
  timeout: number,
): Promise<Reply> {
  const most = path === '/initialize' ? 0 : settings.switches.hookTimeoutMax;
  const seconds = most === 0 ? timeout : Math.min(most, timeout);
  const headers = commonHeaders(settings, { requestId, controlPath: path });
  return ask(container, path === '/initialize' ? 'POST' : 'GET', path, headers, seconds * 1000, settings.isHeld);
}

async function text(response: IncomingMessage, limit: number): Promise<string> {
  let body = '';
  for await (const chunk of response) body = (body + String(chunk)).slice(0, limit);
  return body;
}
