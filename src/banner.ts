import type { Profile, Route } from './profile.ts';

/**
 * Writes what a developer sees first: where the gateway listens, what it serves, and for each way in a
 * curl line that can be pasted as it is.
 *
 * @param origin - e.g. `http://localhost:9000`.
 */
export function banner(version: string, origin: string, { functions, routes }: Profile): string {
  const names = functions.map(({ name }) => name);
  const lines =
    routes.length > 0
      ? routes.flatMap(route => expand(route, names).map(({ path, name }) => curl(origin, { ...route, path }, name)))
      : names.map(name => curl(origin, names.length === 1 ? {} : { fcFunction: name }, name));
  return [
    `noslate-fc ${version} on ${origin}, local agent (for development: functions are not isolated)`,
    names.length === 0 ? 'no functions; name a noslate.json with --config' : `functions: ${names.join(', ')}`,
    ...lines.map(line => `  ${line}`),
  ].join('\n');
}

/** A route whose function comes from its path is as many ways in as there are functions. */
function expand(route: Route, names: readonly string[]): { path: string; name: string }[] {
  const { path = route.event === true ? '/invoke' : '/', function: target } = route;
  const fill = (name: string): string =>
    path
      .replace(/\*$/, '')
      .split('/')
      .map(segment => (segment === target ? encodeURIComponent(name) : segment.replace(/^:.*/, '1')))
      .join('/');
  return (target.startsWith(':') ? names : [target]).map(name => ({ path: fill(name), name }));
}

function curl(origin: string, route: Partial<Route>, name: string): string {
  const { event, method = event === true ? 'POST' : 'GET', host, fcFunction, path = '/' } = route;
  const words = ['curl'];
  if (method !== 'GET') words.push(`-X ${method}`);
  if (host !== undefined) words.push(`-H 'host: ${host}'`);
  if (fcFunction !== undefined) words.push(`-H 'x-fc-function-name: ${fcFunction}'`);
  words.push(`${origin}${path}`);
  return `${words.join(' ').padEnd(60)} # ${name}`;
}
