import type { Profile, Route } from './profile.ts';
import { formatTarget, type Target, targetOf } from './target.ts';

/**
 * Writes what a developer sees first: where the gateway listens, what it serves, and for each way in a
 * curl line that can be pasted as it is.
 *
 * @param origin - e.g. `http://localhost:9000`.
 */
export function banner(version: string, origin: string, { functions, services, routes }: Profile): string {
  const names = functions.map(({ name }) => name);
  const known = { function: names, service: services.map(({ name }) => name) };
  const lines =
    routes.length > 0
      ? routes.flatMap(route =>
          expand(route, known).map(({ path, target }) => curl(origin, { ...route, path }, target)),
        )
      : names.map(name => curl(origin, names.length === 1 ? {} : { fcFunction: name }, name));
  return [
    `noslate-fc ${version} on ${origin}, local agent (for development: functions are not isolated)`,
    names.length === 0 ? 'no functions; name a noslate.json with --config' : `functions: ${names.join(', ')}`,
    ...(services.length === 0 ? [] : [`services: ${known.service.join(', ')}`]),
    ...lines.map(line => `  ${line}`),
  ].join('\n');
}

/** A route that takes its target from the path is as many ways in as there are functions, or services. */
function expand(
  route: Route,
  known: Readonly<Record<Target['type'], readonly string[]>>,
): { path: string; target: string }[] {
  const { path = route.event === true ? '/invoke' : '/' } = route;
  const { type, name: given } = targetOf(route);
  const fill = (name: string): string =>
    path
      .replace(/\*$/, '')
      .split('/')
      .map(segment => (segment === given ? encodeURIComponent(name) : segment.replace(/^:.*/, '1')))
      .join('/');
  return (given.startsWith(':') ? known[type] : [given]).map(name => ({
    path: fill(name),
    target: formatTarget({ type, name }),
  }));
}

function curl(origin: string, route: Route, target: string): string {
  const { event, method = event === true ? 'POST' : 'GET', host, fcFunction, path = '/' } = route;
  const words = ['curl'];
  if (method !== 'GET') words.push(`-X ${method}`);
  if (host !== undefined) words.push(`-H 'host: ${host}'`);
  if (fcFunction !== undefined) words.push(`-H 'x-fc-function-name: ${fcFunction}'`);
  words.push(`${origin}${path}`);
  return `${words.join(' ').padEnd(60)} # ${target}`;
}
