import { banner } from '../banner.ts';
import { loadProfile } from '../profile-load.ts';
import { invokePath } from './fc/endpoint.ts';
import type { FunctionSettings } from './fc/settings.ts';

/** How a function can be called. */
export interface Ways {
  /** Noslate's functions, by their names; none where that is the container's own business. */
  readonly functions: readonly string[];
  /** Lines for a terminal, each a call. */
  readonly curls: readonly string[];
}

/**
 * Lists the ways in: HTTP triggers as the server itself would show them, and InvokeFunction.
 *
 * @param file - noslate.json, where the container reads one.
 * @param url - the endpoint's.
 */
export function waysIn(file: string | undefined, url: string, settings: FunctionSettings): Ways {
  const event = `curl -d '{"amount":20}' ${url}${invokePath(settings)}   # InvokeFunction`;
  const root = [`curl ${url}/`];
  if (file === undefined) return { functions: [], curls: [event] };
  try {
    const profile = loadProfile(file);
    const functions = profile.functions.map(({ name }) => name);
    // events have a way in of their own, and x-fc-* headers of a client's do not get through
    const routes = profile.routes.filter(item => item.event !== true && item.fcFunction === undefined);
    const lines = banner('', url, { ...profile, routes })
      .split('\n')
      .filter(line => line.startsWith('  curl'))
      .map(line => line.trim());
    return { functions, curls: [...(routes.length === 0 ? root : lines), event] };
  } catch {
    // the container says what is wrong with it
    return { functions: [], curls: [...root, event] };
  }
}
