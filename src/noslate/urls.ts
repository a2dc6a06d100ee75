import type { Metadata } from '../agent.ts';
import type { Profile } from '../profile.ts';
import type { Target } from '../target.ts';

/** Gives the URL that a target is to see. */
export type Urls = (target: Target, metadata: Metadata) => string;

/**
 * Makes the rule for URLs of a profile. A nodejs function sees the URL as the client sent it. An aworker
 * takes it for a relative one, of its own script: it gets an absolute http URL. A service that may pick
 * either is given the one as sent.
 *
 * @see Noslate contract §5 "aworker"
 */
export function createUrls({ functions, services }: Profile): Urls {
  const aworkers = new Set(functions.filter(({ runtime }) => runtime === 'aworker').map(({ name }) => name));
  const names = { function: aworkers, service: new Set<string>() };
  for (const { name, selector, selectors = [] } of services) {
    const targets = [...selectors.map(item => item.selector), ...(selector === undefined ? [] : [selector])];
    if (targets.every(({ functionName }) => aworkers.has(functionName))) names.service.add(name);
  }

  return ({ type, name }, { url, headers }) => {
    if (!names[type].has(name)) return url;
    const at = headers.findIndex((field, i) => i % 2 === 0 && field.toLowerCase() === 'host');
    return `http://${at < 0 ? 'localhost' : headers[at + 1]}${url}`;
  };
}
