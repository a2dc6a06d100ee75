import type { IncomingMessage } from 'node:http';
import type { Config } from './config.ts';
import { GatewayError } from './errors.ts';
import type { Exchange, Kind, Router } from './gateway.ts';
import type { Profile, Route } from './profile.ts';
import { formatTarget, parseTarget, type Target, targetOf } from './target.ts';

const BY_CONTROL_PATH: Readonly<Record<string, Kind>> = {
  '/initialize': 'initialize',
  '/pre-freeze': 'pre-freeze',
  '/pre-stop': 'pre-stop',
  '/invoke': 'event',
  '/http-invoke': 'http',
};

const BY_PATH: Readonly<Record<string, Kind>> = {
  'POST /initialize': 'initialize',
  'GET /pre-freeze': 'pre-freeze',
  'GET /pre-stop': 'pre-stop',
  'POST /invoke': 'event',
};

/**
 * Tells what a request is. FC's control path decides, for a client of an HTTP trigger can ask for any
 * path, but cannot send `x-fc-*`; without one (local use, probes) method and path do.
 *
 * A hook that must not come so is a request like any other.
 *
 * @see FC contract §2
 */
export function kindOf(
  req: IncomingMessage,
  url: string,
  { healthPath, readyPath, hooks }: Pick<Config, 'healthPath' | 'readyPath' | 'hooks'>,
): Kind {
  const control = req.headers['x-fc-control-path'];
  const path = pathOf(url);
  const hasControl = typeof control === 'string' && control !== '';
  let kind: Kind;
  if (hasControl) kind = Object.hasOwn(BY_CONTROL_PATH, control) ? (BY_CONTROL_PATH[control] as Kind) : 'http';
  else kind = BY_PATH[`${req.method} ${path}`] ?? 'http';
  if (hooks !== 'path' && kind !== 'http' && kind !== 'event' && (hooks === 'off' || !hasControl)) kind = 'http';
  if (kind !== 'http' || (req.method !== 'GET' && req.method !== 'HEAD')) return kind;
  if (path === healthPath) return 'health';
  return path === readyPath ? 'ready' : kind;
}

/** The request's target in origin form, without the prefix that FC 2.0's own domain puts before the path. */
export function urlOf(req: IncomingMessage): string {
  let url = req.url ?? '/';
  // it is refused with one, but told of without
  if (url.includes('#')) url = url.slice(0, url.indexOf('#'));
  if (!url.startsWith('/') && url !== '*') url = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?]*/i, '');
  if (url.startsWith('/2016-08-15/proxy/')) url = url.replace(/^\/2016-08-15\/proxy\/[^/?]+\/[^/?]+/, '');
  return url.startsWith('/') || url === '*' ? url : `/${url}`;
}

/**
 * Host and port of a request's target in absolute form, which only a proxy would be sent; undefined in any other form.
 *
 * @see RFC 9112 §3.2.2
 */
export function authorityOf({ url = '/' }: IncomingMessage): string | undefined {
  return url.startsWith('/') ? undefined : /^https?:\/\/([^/?]*)/i.exec(url)?.[1];
}

/** The part of a URL in origin form before the query. */
export function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

/**
 * Makes the router of a profile. The dispatch header comes first, then the routes in order; without
 * routes the only function, else the one that `x-fc-function-name` names.
 *
 * @param explain - whether the error for a request without a route says what would have matched.
 */
export function createRouter({ functions, routes, dispatchHeader }: Profile, explain: boolean): Router {
  const rules = routes.map(compile);
  // the places of routes with one exact path, by it, and of all others
  const exact = new Map<string, number[]>();
  const others: number[] = [];
  for (const [place, { path }] of routes.entries()) {
    if (path === undefined || !isExact(path)) others.push(place);
    else if (exact.get(path)?.push(place) === undefined) exact.set(path, [place]);
  }
  const targets = new Map(functions.map(({ name }) => [name, targetOf({ function: name })]));
  const [only] = targets.size === 1 ? targets.values() : [];

  function noRoute({ req, url, kind }: Exchange): GatewayError {
    const what = kind === 'event' ? 'this event' : `${req.method} ${pathOf(url)}`;
    let hint = '';
    if (explain && targets.size === 0) hint = '; there are no functions, see SERVER_CONFIG';
    else if (explain && routes.length === 0)
      hint = `; expected x-fc-function-name, one of ${[...targets.keys()].join(', ')}`;
    else if (explain) hint = `; routes: ${routes.map(describeRoute).join(', ')}`;
    return new GatewayError('ROUTE_NOT_FOUND', `no route for ${what}${hint}`);
  }

  return exchange => {
    const { headers } = exchange.req;
    if (dispatchHeader !== undefined) {
      const value = headers[dispatchHeader];
      if (typeof value === 'string' && value !== '') return parseTarget(value);
    }
    if (rules.length === 0) {
      const target = only ?? targets.get(headers['x-fc-function-name']?.toString() ?? '');
      if (target !== undefined) return target;
      throw noRoute(exchange);
    }
    const path = pathOf(exchange.url);
    const own = exact.get(path) ?? [];
    // in order, whichever list has the next one
    for (let i = 0, j = 0; i < own.length || j < others.length; ) {
      const place = (own[i] ?? rules.length) < (others[j] ?? rules.length) ? own[i++] : others[j++];
      const target = rules[place as number]?.(exchange, path);
      if (target === undefined) continue;
      exchange.route = routes[place as number]?.path ?? '';
      return target;
    }
    throw noRoute(exchange);
  };
}

/** A route in a line: its conditions and where it leads. */
export function describeRoute(route: Route): string {
  const conditions = [
    route.event === true ? 'events' : '',
    route.method ?? '',
    `${route.host ?? ''}${route.path ?? ''}`,
    route.fcFunction === undefined ? '' : `x-fc-function-name ${route.fcFunction}`,
  ].filter(text => text !== '');
  return `${conditions.join(' ') || 'anything'} → ${formatTarget(targetOf(route))}`;
}

type Rule = (exchange: Exchange, path: string) => Target | undefined;

function compile(route: Route): Rule {
  const { host, method, event, fcFunction } = route;
  const matchPath = compilePath(route.path);
  const target = targetOf(route);
  const param = target.name.startsWith(':') ? target.name.slice(1) : undefined;
  return ({ req, kind, authority }, path) => {
    if (event !== undefined && event !== (kind === 'event')) return undefined;
    if (method !== undefined && method !== req.method) return undefined;
    if (fcFunction !== undefined && fcFunction !== req.headers['x-fc-function-name']) return undefined;
    if (host !== undefined && host.toLowerCase() !== hostOf(authority ?? req.headers.host)) return undefined;
    const params = matchPath(path);
    if (params === undefined) return undefined;
    if (param === undefined) return target;
    const name = params[param];
    return name === undefined ? undefined : { type: target.type, name };
  };
}

const isExact = (pattern: string): boolean => !/\/:|\*$/.test(pattern);

type Params = Readonly<Record<string, string>>;
const NO_PARAMS: Params = {};

/** Compiles `/exact`, `/with/:param` and `/prefix/*` into a test that gives the parameters, or nothing. */
function compilePath(pattern: string | undefined): (path: string) => Params | undefined {
  if (pattern === undefined) return () => NO_PARAMS;
  if (isExact(pattern)) return path => (path === pattern ? NO_PARAMS : undefined);

  const names: string[] = [];
  const source = pattern
    .replace(/\*$/, '')
    .split('/')
    .map(segment => {
      if (!segment.startsWith(':')) return segment.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
      names.push(segment.slice(1));
      return '([^/]+)';
    })
    .join('/');
  const expression = new RegExp(`^${source}${pattern.endsWith('*') ? '' : '$'}`);

  return path => {
    const match = expression.exec(path);
    if (match === null) return undefined;
    try {
      return Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(match[i + 1] as string)]));
    } catch {
      return undefined; // a broken percent-encoding names nothing
    }
  };
}

function hostOf(authority: string | undefined): string {
  return (authority ?? '').replace(/:\d*$/, '').toLowerCase();
}
