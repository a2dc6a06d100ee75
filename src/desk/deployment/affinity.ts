import { isHeaderName } from '../fc/sessions.ts';
import type { Deployed } from './deployed.ts';
import { DEPLOYMENT_LIMITS as LIMITS } from './limits.ts';
import type { Reader } from './reader.ts';
import { child, type Tree } from './tree.ts';

/** What FC calls the ways in which it knows a session. */
const WAYS = { GENERATED_COOKIE: 'cookie', HEADER_FIELD: 'header', MCP_STREAMABLE: 'mcp' } as const;

/**
 * Session affinity; undefined if there is none, or none that is played.
 *
 * @param props - of the function, which has its numbers beside it.
 * @see Alibaba Cloud, FC 2023-03-30: CookieSessionAffinityConfig, HeaderFieldSessionAffinityConfig
 */
export function readAffinity(read: Reader, tree: Tree, props: Tree): Deployed['sessionAffinity'] {
  const way = read.oneOf(tree, 'NONE', 'GENERATED_COOKIE', 'HEADER_FIELD', 'MCP_STREAMABLE', 'MCP_SSE');
  if (way === undefined || way === 'NONE') return undefined;
  if (way === 'MCP_SSE') {
    read.remark('warning', tree, 'not played here: any instance takes any call');
    return undefined;
  }
  const affinity: {
    -readonly [K in keyof NonNullable<Deployed['sessionAffinity']>]: NonNullable<Deployed['sessionAffinity']>[K];
  } = { by: WAYS[way] };
  const config = child(props, 'sessionAffinityConfig');
  const number =
    (key: 'perInstance' | 'ttl' | 'idle', range: keyof typeof LIMITS) =>
    (value: Tree): void => {
      const found = read.number(value, LIMITS[range]);
      if (found !== undefined) affinity[key] = found;
    };
  if (config !== undefined) {
    read.walk(config, {
      sessionConcurrencyPerInstance: number('perInstance', 'sessionConcurrencyPerInstance'),
      sessionTTLInSeconds: number('ttl', 'sessionTTLInSeconds'),
      sessionIdleTimeoutInSeconds: number('idle', 'sessionIdleTimeoutInSeconds'),
      affinityHeaderFieldName: value => {
        const name = read.text(value);
        if (name === undefined) return;
        if (isHeaderName(name)) affinity.header = name;
        else read.remark('error', value, HEADER_NAME);
      },
      disableSessionIdReuse: value => {
        if (read.flag(value) === true) read.remark('warning', value, 'not played here: an id begins a session again');
      },
    });
  }
  if (way === 'HEADER_FIELD' && (config === undefined || child(config, 'affinityHeaderFieldName') === undefined)) {
    read.remark('error', config ?? tree, 'affinityHeaderFieldName: missing, expected the name of a header');
  }
  // one that is alone has an instance of its own
  const mode = child(props, 'instanceIsolationMode');
  if (mode?.kind === 'leaf' && mode.value === 'SESSION_EXCLUSIVE') affinity.perInstance = 1;
  return affinity;
}

const HEADER_NAME = 'expected 5 to 40 letters, digits, "-" and "_", the first a letter, and not x-fc-';
