import { fileURLToPath } from 'node:url';
import type { FunctionProfile, KeyValuePair, Profile, Route, ServiceProfile } from './profile.ts';
import { show } from './schema.ts';
import { targetOf } from './target.ts';

/** How a URL begins, and a path does not. */
export const SCHEME: RegExp = /^([a-z][a-z0-9+.-]+):\/\//i;

/**
 * Gives what is wrong with a `noslate.json` of which each part is as its table says: names that nobody has or two have,
 * URLs of no use, variables that are Noslate's own. One line per fault, like those of `check`.
 */
export function conflictsIn({ functions, services, routes, environments, credentials = [] }: Profile): string[] {
  return [
    ...badUrls(functions),
    ...duplicates('functions', functions),
    ...duplicates('services', services),
    ...unselectable(services, functions),
    ...dangling(routes, functions, services),
    ...reserved(environments),
    ...credentials
      .map((name, i) => `credentials[${i}]: expected a name from functions, got ${show(name)}`)
      .filter((_, i) => !functions.some(({ name }) => name === credentials[i])),
  ];
}

function badUrls(functions: readonly FunctionProfile[]): string[] {
  return functions.flatMap(({ url }, i) => {
    const scheme = SCHEME.exec(url)?.[1]?.toLowerCase();
    if (scheme === undefined || scheme === 'http' || scheme === 'https' || isFileUrl(url)) return [];
    return [`functions[${i}].url: expected a path, file:///PATH or http(s)://..., got ${show(url)}`];
  });
}

function isFileUrl(url: string): boolean {
  try {
    return fileURLToPath(url) !== '';
  } catch {
    return false;
  }
}

function duplicates(key: string, items: readonly { readonly name: string }[]): string[] {
  const seen = new Map<string, number>();
  const faults: string[] = [];
  for (const [i, { name }] of items.entries()) {
    const first = seen.get(name);
    if (first === undefined) seen.set(name, i);
    else faults.push(`${key}[${i}].name: ${show(name)} is the name of ${key}[${first}] already`);
  }
  return faults;
}

function unselectable(services: readonly ServiceProfile[], functions: readonly FunctionProfile[]): string[] {
  const names = new Set(functions.map(({ name }) => name));
  return services.flatMap(({ selector, selectors = [] }, i) => {
    const selected: [string, string][] = selectors.map((item, j) => [
      `selectors[${j}].selector`,
      item.selector.functionName,
    ]);
    if (selector !== undefined) selected.push(['selector', selector.functionName]);
    return selected
      .filter(([, name]) => !names.has(name))
      .map(([at, name]) => `services[${i}].${at}.functionName: expected a name from functions, got ${show(name)}`);
  });
}

function dangling(
  routes: readonly Route[],
  functions: readonly FunctionProfile[],
  services: readonly ServiceProfile[],
): string[] {
  const known = { function: functions, service: services };
  return routes.flatMap((route, i) => {
    const { type, name } = targetOf(route);
    const { path = '' } = route;
    const at = `routes[${i}].${type}`;
    if (name.startsWith(':')) {
      if (path.split('/').includes(name)) return [];
      return [`${at}: expected a parameter of the path ${show(path)}, got ${show(name)}`];
    }
    if (known[type].some(item => item.name === name)) return [];
    return [`${at}: expected a name from ${type}s, got ${show(name)}`];
  });
}

function reserved(environments: readonly KeyValuePair[]): string[] {
  return environments.flatMap(({ key }, i) =>
    /^NOSLATED?_/.test(key)
      ? [`environments[${i}].key: ${show(key)} is reserved, expected no NOSLATE_ or NOSLATED_ prefix`]
      : [],
  );
}
