import { useLayoutEffect, useState } from 'preact/hooks';

/** The pages, in the order in which they stand. */
export const VIEWS = ['now', 'calls', 'send', 'instances', 'costs', 'contract'] as const;
export type View = (typeof VIEWS)[number];

/** What is shown, as the address has it: `#/calls/ID?tab=response`. */
export interface Route {
  readonly view: View;
  /** Of a call or an instance. */
  readonly id: string | undefined;
  readonly params: URLSearchParams;
}

/** Reads an address; what it does not know is the first page. */
export function readRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const [view = '', id] = path.split('/').map(decoded);
  return {
    view: VIEWS.find(one => one === view) ?? 'now',
    id: id === '' ? undefined : id,
    params: new URLSearchParams(query),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

/** The address of a page; what is empty is left out. */
export function linkTo(view: View, id?: string, params: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== '')).toString();
  return `#/${view}${id === undefined ? '' : `/${encodeURIComponent(id)}`}${query === '' ? '' : `?${query}`}`;
}

/** Goes there; as a step that the browser's Back leads back from, unless told otherwise. */
export function go(link: string, isStep: boolean = true): void {
  if (isStep) location.hash = link;
  else {
    history.replaceState(null, '', link);
    dispatchEvent(new HashChangeEvent('hashchange'));
  }
}

/** What is shown. */
export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  // an effect would come after a frame, and miss a step made before it
  useLayoutEffect(() => {
    const listener = (): void => setHash(location.hash);
    addEventListener('hashchange', listener);
    return () => removeEventListener('hashchange', listener);
  }, []);
  return readRoute(hash);
}
