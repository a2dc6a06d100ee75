import { randomUUID } from 'node:crypto';
import { now } from '../../clock.ts';
import { platformError } from './answers.ts';
import { type HeaderPairs, header } from './headers.ts';
import type { Tell } from './life.ts';
import type { SessionAffinity } from './settings.ts';

/** The cookie that FC gives clients. @see FC contract, S42 */
export const SESSION_COOKIE = 'x-fc-cookie-session-id';
const MCP_HEADER = 'mcp-session-id';
/** What a client may name a session in a header. */
const SESSION_ID = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/;
/** Of an id so much is told. Whoever has all of it has the session. */
const TOLD_CHARS = 8;

const toldOf = (id: string): string => id.slice(0, TOLD_CHARS);

/** Whether FC would take a header of that name for sessions. */
export const isHeaderName = (name: string): boolean =>
  /^[A-Za-z][A-Za-z0-9_-]{4,39}$/.test(name) && !/^x-fc-/i.test(name);

/** What a call has of a session. */
export interface CallSession {
  /** Undefined where the function itself is to give it, with its answer. */
  readonly id: string | undefined;
  /** What the caller's answer has of it. */
  readonly headers: HeaderPairs;
  /** The instance has begun to answer. */
  answered(instance: string, status: number, headers: HeaderPairs): void;
}

/** Which instance has which sessions. */
export interface Sessions {
  /**
   * The session of a call: the one that it names, or a new one.
   *
   * @throws {FcError} InvalidArgument: it names none that could be.
   */
  open(method: string, headers: HeaderPairs): CallSession;
  /** Id of the instance that has it; undefined of one that is new or over. */
  home(session: string): string | undefined;
  /** How many an instance has. */
  count(instance: string): number;
  /** Those that it has, the last one last: of each id so much as may be told. */
  told(instance: string): readonly string[];
  /** A call of it has got that instance. */
  settle(session: string, instance: string): void;
  /** A call of it is over. */
  leave(session: string): void;
  /** An instance is gone, and all its sessions with it. */
  forget(instance: string): void;
}

interface Entry {
  readonly instance: string;
  readonly begun: number;
  used: number;
  calls: number;
}

/** Keeps sessions by their ids, until they are over: by age, by rest, or because the client says so (MCP). */
export function createSessions({ by, header: chosen, ttl, idle }: SessionAffinity, tell: Tell): Sessions {
  const entries = new Map<string, Entry>();

  function live(id: string): Entry | undefined {
    const entry = entries.get(id);
    if (entry === undefined) return undefined;
    const moment = now();
    const rests = entry.calls === 0 && moment - entry.used > idle * 1000;
    if (!rests && moment - entry.begun <= ttl * 1000) return entry;
    entries.delete(id);
    return undefined;
  }

  function settle(id: string, instance: string): void {
    const entry = live(id);
    if (entry?.instance === instance) {
      entry.calls += 1;
      return;
    }
    const moment = now();
    entries.set(id, { instance, begun: moment, used: moment, calls: 1 });
    tell('session', { instance, session: toldOf(id), sessions: count(instance) });
  }

  function leave(id: string): void {
    const entry = entries.get(id);
    if (entry === undefined) return;
    entry.calls = Math.max(0, entry.calls - 1);
    entry.used = now();
  }

  const of = (instance: string): string[] => [...entries.keys()].filter(id => live(id)?.instance === instance);
  const count = (instance: string): number => of(instance).length;

  /** The session that the client names. */
  function named(headers: HeaderPairs): string | undefined {
    if (by !== 'cookie') return header(headers, by === 'mcp' ? MCP_HEADER : chosen.toLowerCase());
    const cookies = headers.filter(([name]) => /^cookie$/i.test(name)).flatMap(([, value]) => value.split(';'));
    const pairs = cookies.map(cookie => cookie.trim().split(/=(.*)/s));
    return pairs.find(([name]) => name === SESSION_COOKIE)?.[1] || undefined;
  }

  /** How the client gets to know of a session that FC has named. */
  const introduce = (id: string): HeaderPairs =>
    by === 'cookie' ? [['Set-Cookie', `${SESSION_COOKIE}=${id}; Max-Age=${ttl}; Path=/; HttpOnly`]] : [[chosen, id]];

  return {
    open(method, headers) {
      const id = named(headers);
      if (by === 'mcp') return { id, headers: [], answered: followMcp(method, id) };
      if (id === undefined) {
        const fresh = randomUUID();
        return { id: fresh, headers: introduce(fresh), answered: () => {} };
      }
      if (by === 'header' && !SESSION_ID.test(id)) {
        throw platformError('InvalidArgument', 400, `${chosen}: expected at most 64 letters, digits, "_" and "-"`);
      }
      return { id, headers: [], answered: () => {} };
    },
    home: session => live(session)?.instance,
    count,
    told: instance => of(instance).map(toldOf),
    settle,
    leave,
    forget(instance) {
      for (const [id, entry] of entries) if (entry.instance === instance) entries.delete(id);
    },
  };

  /** MCP's servers name sessions themselves, and clients end them. @see MCP 2025-06-18, Streamable HTTP */
  function followMcp(method: string, id: string | undefined): CallSession['answered'] {
    return (instance, status, headers) => {
      const good = status >= 200 && status < 300;
      const given = header(headers, MCP_HEADER);
      if (method === 'DELETE' && good && id !== undefined) entries.delete(id);
      else if (id === undefined && given !== undefined && good) {
        settle(given, instance);
        leave(given);
      }
    };
  }
}
