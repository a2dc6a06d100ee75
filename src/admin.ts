// The admin port: for an operator, never for clients. Loaded when it is asked for.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { settingsOf } from './config.ts';
import type { Gateway } from './gateway.ts';
import { describeReadiness } from './ready.ts';
import { pathOf } from './router.ts';

const JSON_TYPE = 'application/json; charset=utf-8';
const TEXT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const OPEN_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** Longest wait for a request of an operator's, ms. */
const REQUEST_MS = 10_000;

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const answerJson = (status: number, value: unknown, space?: number): Answer => ({
  status,
  type: JSON_TYPE,
  body: `${JSON.stringify(value, null, space)}\n`,
});

/**
 * Opens the admin port: `/health`, `/ready`, `/metrics`, `/config`. A port that cannot be had is told, and is no reason to
 * serve no calls.
 */
export function openAdmin(gateway: Gateway): void {
  const { config, log } = gateway;

  async function answer(req: IncomingMessage): Promise<Answer> {
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      return answerJson(405, { error: 'expected GET or HEAD' });
    }
    switch (pathOf(req.url ?? '')) {
      case '/health':
        return answerJson(200, { pid: process.pid, uptime: process.uptime() });
      case '/ready':
        return { ...describeReadiness(await gateway.readiness()), type: JSON_TYPE };
      case '/metrics': {
        const isOpen = /application\/openmetrics-text/.test(req.headers.accept ?? '');
        return { status: 200, type: isOpen ? OPEN_TYPE : TEXT_TYPE, body: gateway.metrics?.text(isOpen) ?? '' };
      }
      case '/config':
        return answerJson(200, effective(gateway), 2);
      default:
        return answerJson(404, { error: 'expected /health, /ready, /metrics, /config' });
    }
  }

  function onRequest(req: IncomingMessage, res: ServerResponse): void {
    answer(req).then(
      ({ status, type, body }) => {
        res.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
        res.end(req.method === 'HEAD' ? undefined : body);
      },
      error => {
        log.error('admin request failed', { error });
        res.destroy();
      },
    );
    req.resume();
  }

  const server = createServer(onRequest);
  server.requestTimeout = REQUEST_MS;
  server.on('error', error =>
    log.error('admin port not open', { port: config.adminPort, host: config.adminHost, error }),
  );
  server.listen(config.adminPort, config.adminHost, () => {
    log.info('admin port open', { port: config.adminPort, host: config.adminHost });
  });
  // it is no reason to stay
  server.unref();
}

/** A URL without what opens it: a user, or the signature in a query. */
function masked(url: string): string {
  const { protocol, username, host, pathname, search } = new URL(url);
  return `${protocol}//${username === '' ? '' : '***@'}${host}${pathname}${search === '' ? '' : '?***'}`;
}

/** What counts, without what may be secret: of environments the names alone. */
function effective({ config, profile }: Gateway): object {
  const names = (list: readonly { readonly key: string }[] = []): string[] => list.map(({ key }) => key);
  return {
    settings: settingsOf(config),
    functions: profile.functions.map(item => ({
      ...item,
      url: masked(item.url),
      environments: names(item.environments),
    })),
    services: profile.services,
    routes: profile.routes,
    dispatchHeader: profile.dispatchHeader,
    environments: names(profile.environments),
  };
}
