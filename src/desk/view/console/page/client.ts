import type { CallDetail, Change, Costs, LogPage, Sending, Sent } from '../api.ts';

/** Asks the desk. @throws {Error} rejected: in the desk's own words. */
async function ask<T>(path: string, body?: unknown): Promise<T> {
  const response = await fetch(
    path,
    body === undefined
      ? {}
      : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) },
  );
  const value = await response.json();
  if (!response.ok) throw new Error(value.error ?? `status ${response.status}`);
  return value;
}

const id = encodeURIComponent;

export const getCall = (call: string): Promise<CallDetail> => ask(`/api/calls/${id(call)}`);
export const getLog = (instance: string, after: number): Promise<LogPage> =>
  ask(`/api/instances/${id(instance)}/log?after=${after}`);
export const getCosts = (): Promise<Costs> => ask('/api/costs');
export const send = (sending: Sending): Promise<Sent> => ask('/api/send', sending);
export const replay = (call: string, change: Change = {}): Promise<Sent> =>
  ask(`/api/calls/${id(call)}/replay`, change);
export const act = (instance: string, action: 'freeze' | 'thaw' | 'crash' | 'stop'): Promise<unknown> =>
  ask(`/api/instances/${id(instance)}/${action}`, {});
export const scale = (count: number): Promise<unknown> => ask('/api/scale', { count });
export const redeploy = (): Promise<unknown> => ask('/api/redeploy', {});
