import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { endWithUs, eventually, observe, temporary, which, within } from '../helpers.ts';

/** Proxies of which each is started with all of what it lets pass. */
export const PROXIES = ['nginx', 'haproxy'] as const;
export type ProxyName = (typeof PROXIES)[number];

/** What a proxy waits for its clients, s: behind that it ends their connections. */
const PATIENCE_S = 1;

/** A connection that a proxy has opened to what is behind it. */
export interface Upstream {
  /** All that the proxy has sent, as latin1. */
  sent: string;
}

/** Hands on what comes, and keeps what came from the proxy. */
export interface Relay {
  readonly port: number;
  readonly upstreams: readonly Upstream[];
  close(): void;
}

/** Starts a relay to a port of this machine. */
export async function startRelay(to: number): Promise<Relay> {
  const upstreams: Upstream[] = [];
  const sockets = new Set<Socket>();
  const relay = createServer({ allowHalfOpen: true }, proxy => {
    const upstream: Upstream = { sent: '' };
    upstreams.push(upstream);
    const server = connect({ port: to, host: '127.0.0.1', allowHalfOpen: true });
    proxy.on('data', (bytes: Buffer) => {
      upstream.sent += bytes.toString('latin1');
    });
    for (const [one, other] of [
      [proxy, server],
      [server, proxy],
    ] as const) {
      sockets.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        // what it has sent goes first
        if (!one.readableEnded) other.destroy();
      });
    }
  });
  await new Promise<void>(done => relay.listen(0, '127.0.0.1', done));
  return {
    port: (relay.address() as AddressInfo).port,
    upstreams,
    close() {
      relay.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A proxy that runs. */
export interface RunningProxy {
  /** Its listeners' files, one for each port that was asked for; each keeps one connection to that. */
  readonly files: readonly string[];
  stop(): Promise<void>;
}

/** Starts a proxy that keeps its connections to `ports`, and takes what it can be told to take. */
export async function startProxy(name: ProxyName, ports: readonly number[]): Promise<RunningProxy> {
  const folder = temporary();
  const files = ports.map((_, i) => join(folder, `${i}.sock`));
  const config = join(folder, `${name}.conf`);
  const lanes = ports.map((port, i) => ({ i, port, file: files[i] as string }));
  writeFileSync(config, name === 'nginx' ? nginxConfig(folder, lanes) : haproxyConfig(lanes));
  const args = name === 'nginx' ? ['-p', folder, '-e', 'stderr', '-c', config] : ['-db', '-f', config];
  const child = endWithUs(spawn(which(name) ?? name, args, { stdio: ['ignore', 'pipe', 'pipe'] }));
  const { exit, output } = observe(child);
  let isOver = false;
  exit.then(() => {
    isOver = true;
  });
  for (const file of files) {
    await eventually(`${name} to listen`, async () => {
      if (isOver) throw new Error(`${name} ended: ${output()}`);
      return isListening(file);
    });
  }
  return { files, stop: () => stop(child, exit) };
}

async function stop(child: ChildProcess, exit: Promise<unknown>): Promise<void> {
  child.kill('SIGTERM');
  await within(5000, exit, 'the proxy to end');
}

const isListening = (file: string): Promise<boolean> =>
  new Promise(done => {
    const socket = connect(file);
    socket.on('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.on('error', () => done(false));
  });

interface Lane {
  readonly i: number;
  readonly port: number;
  readonly file: string;
}

/** @see nginx, ngx_http_core_module, ngx_http_proxy_module, ngx_http_upstream_module "keepalive" */
function nginxConfig(folder: string, lanes: readonly Lane[]): string {
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const isRoot = process.getuid?.() === 0;
  return `
    daemon off; master_process off; pid ${folder}/nginx.pid;
    ${isRoot ? 'user root;' : ''}
    events { worker_connections 512; }
    http {
      access_log off; error_log /dev/null;
      ${temp.map(kind => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
      merge_slashes off; ignore_invalid_headers off; underscores_in_headers on; server_tokens off;
      large_client_header_buffers 4 256k; client_max_body_size 0;
      client_header_timeout ${PATIENCE_S}s; client_body_timeout ${PATIENCE_S}s; keepalive_timeout ${PATIENCE_S}s;
      lingering_timeout 200ms;
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_request_buffering off; proxy_read_timeout 10s;
      ${lanes.map(({ i, port }) => `upstream u${i} { server 127.0.0.1:${port}; keepalive 1; }`).join('\n      ')}
      ${lanes
        .map(({ i, file }) => `server { listen unix:${file}; location / { proxy_pass http://u${i}; } }`)
        .join('\n      ')}
    }`;
}

/** @see HAProxy Configuration Manual, "http-reuse", "option accept-invalid-http-request" */
function haproxyConfig(lanes: readonly Lane[]): string {
  return `
    global
      nbthread 1
      tune.bufsize 131072
    defaults
      mode http
      option http-keep-alive
      option accept-invalid-http-request
      http-reuse always
      timeout connect 5s
      timeout server 10s
      timeout client ${PATIENCE_S}s
      timeout http-request ${PATIENCE_S}s
      timeout http-keep-alive ${PATIENCE_S}s
    ${lanes
      .map(
        ({ i, port, file }) => `
    frontend f${i}
      bind unix@${file}
      default_backend b${i}
    backend b${i}
      server s 127.0.0.1:${port}`,
      )
      .join('')}
`;
}
