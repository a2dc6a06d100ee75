import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { freePort } from '../src/desk/fc/port.ts';
import { withServerOn } from './agents.ts';
import {
  ask,
  endWithUs,
  eventually,
  open,
  raw,
  type Server,
  suite,
  temporary,
  within,
  without,
  write,
} from './helpers.ts';

const FOLDER = resolve('examples/grafana');

/** What a panel and a dashboard have, as far as it is checked. */
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: unknown;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly options?: { readonly legend?: { readonly showLegend: boolean } };
  readonly targets?: readonly Target[];
}
interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly legendFormat: string;
  readonly datasource: { readonly uid: string };
}
interface Variable {
  readonly name: string;
  readonly type: string;
  readonly query: string | { readonly query: string };
  /** What All stands for; undefined: for each one on the list. */
  readonly allValue?: string;
}
interface Dashboard {
  readonly schemaVersion: number;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly Variable[] };
}

const source = readFileSync(join(FOLDER, 'noslate-fc.json'), 'utf8');
const { schemaVersion, panels, templating }: Dashboard = JSON.parse(source);
const shown = panels.filter(({ type }) => type !== 'row');
const targets = shown.flatMap(({ title, targets: own = [] }) => own.map(target => ({ title, ...target })));

// biome-ignore lint/suspicious/noTemplateCurlyInString: it is Grafana that fills it in
const DATA_SOURCE = '${datasource}';
/** Those that Grafana itself defines. */
const BUILT_IN = ['__rate_interval', '__range'];

const form = suite('dashboard');

form('should have panels that Grafana can lay out, each with what its reader needs', () => {
  assert.ok(schemaVersion >= 36, 'a Grafana from 10 on takes it without a change of its own');
  assert.is(new Set(panels.map(({ id }) => id)).size, panels.length, 'an id is one panel’s');
  const taken = new Map<string, string>();
  for (const { title, gridPos } of panels) {
    const { x, y, w, h } = gridPos;
    assert.ok(x >= 0 && w > 0 && h > 0 && x + w <= 24, `${title} is within the 24 columns`);
    for (let column = x; column < x + w; column++) {
      for (let row = y; row < y + h; row++) {
        const place = `${column} ${row}`;
        assert.is(taken.get(place), undefined, `${title} lies on ${taken.get(place)}`);
        taken.set(place, title);
      }
    }
  }
  for (const { title, type, description = '', fieldConfig, options, targets: own = [], datasource } of shown) {
    assert.match(description, /^[^\n]{30,160}\.$/, `${title}: what to do when it looks bad`);
    assert.ok(fieldConfig?.defaults.unit, `${title}: unit`);
    if (type === 'timeseries') assert.is(options?.legend?.showLegend, true, `${title}: legend`);
    assert.ok(own.length > 0 && own.every(({ legendFormat }) => legendFormat !== ''), `${title}: names of lines`);
    assert.is(new Set(own.map(({ refId }) => refId)).size, own.length, title);
    for (const each of [datasource, ...own.map(target => target.datasource)])
      assert.equal(each, { type: 'prometheus', uid: DATA_SOURCE }, title);
  }
});

form('should use no variable that is not defined, and each that is', () => {
  const defined = templating.list.map(({ name }) => name);
  const used = new Set([...source.matchAll(/\$\{?(\w+)/g)].map(([, name = '']) => name));
  used.delete('__all');
  assert.equal([...used].sort(), [...defined, ...BUILT_IN].sort());
  assert.equal(
    templating.list.filter(({ type }) => type === 'datasource').map(({ name, query }) => [name, query]),
    [['datasource', 'prometheus']],
  );
});

form('should not show other processes when all jobs are chosen', () => {
  // by `.*` those of all jobs would be, of which most have metrics that begin with process_
  for (const { name, allValue } of templating.list)
    assert.is(allValue, name === 'function' ? '.*' : undefined, `${name}: All is what is on the list`);
});

form.run();

const live = suite('dashboard and alarms', { skip: without('prometheus', 'prometheus'), ms: 60_000 });

live('should raise its alarms, and only then', () => {
  for (const args of [
    ['check', 'rules', 'alarms.yaml'],
    ['test', 'rules', 'alarms.test.yaml'],
  ]) {
    const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: FOLDER, encoding: 'utf8' });
    assert.is(status, 0, stdout + stderr);
  }
});

const SOURCE = `exports.handler = async (ctx, req, res) => {
  if (req.url === '/fail') throw new Error('told to');
  if (req.url === '/late') return;
  if (req.url === '/hang') { console.log('hangs'); return; }
  if (req.url === '/busy') await new Promise(done => setTimeout(done, 50));
  res.writeHead(200);
  res.end('ok');
};`;

/** Makes calls of all kinds: more at a time than there are places. */
async function callAll({ port, folder, kill, line }: Server): Promise<void> {
  const late = { path: '/late', headers: { 'x-fc-function-timeout': '1' } };
  const leave = async (): Promise<void> => {
    const hanging = line('a call that hangs', ({ message }) => message === 'hangs');
    const { request, reply } = open(port, { path: '/hang' });
    reply.catch(() => {});
    await hanging;
    request.destroy();
  };
  const scribble = async (): Promise<void> => {
    const { socket, closed } = await raw(port);
    socket.write('no HTTP\r\n\r\n');
    await closed;
  };
  write(join(folder, 'noslate.json'), readFileSync(join(folder, 'noslate.json'), 'utf8'));
  kill('SIGHUP');
  const paths = ['/ok', '/fail', '/other', ...Array.from({ length: 12 }, () => '/busy')];
  await Promise.all([
    leave(),
    scribble(),
    ask(port, late),
    ask(port, { method: 'POST', path: '/invoke', body: '{}' }),
    ask(port, { method: 'POST', path: '/initialize' }),
    ...paths.map(path => ask(port, { path, method: 'POST', body: 'body' })),
  ]);
}

/** What Prometheus says to a query. */
async function query(port: number, expr: string): Promise<readonly { readonly value: [number, string] }[]> {
  const { json } = await ask(port, { path: `/api/v1/query?query=${encodeURIComponent(expr)}` });
  const { status, error, data } = json() as { status: string; error?: string; data?: { result: [] } };
  assert.is(status, 'success', `${expr}: ${error}`);
  return data?.result ?? [];
}

/** An expression with the variables as Grafana fills them in, for a scrape each second. */
const filled = (expr: string): string =>
  expr
    .replace(/\$__rate_interval/g, '10s')
    .replace(/\$__range/g, '60s')
    .replace(/\$(job|instance|function)/g, '.*');

/** Whether a scrape has a name. */
const isTold = (metrics: string, name: string): boolean => new RegExp(`^${name}(\\{| )`, 'm').test(metrics);

live('should show something in each panel when calls of all kinds have come', async () => {
  const [port, web] = [await freePort(), await freePort()];
  const env = {
    SERVER_ADMIN_PORT: String(port),
    SERVER_MAX_CONCURRENCY: '4',
    SERVER_MAX_QUEUE: '100',
  };
  const routes = [
    ...['/ok', '/fail', '/late', '/hang', '/busy'].map(path => ({ path, function: 'mixed' })),
    { event: true, function: 'mixed' },
  ];
  const overrides = { mixed: { worker: { maxActivateRequests: 100 } } };
  await withServerOn('native', { functions: { mixed: SOURCE }, profile: { routes }, overrides, env }, async server => {
    const folder = temporary();
    write(
      join(folder, 'prometheus.yml'),
      JSON.stringify({
        global: { scrape_interval: '1s' },
        rule_files: [join(FOLDER, 'alarms.yaml')],
        scrape_configs: [{ job_name: 'noslate-fc', static_configs: [{ targets: [`127.0.0.1:${port}`] }] }],
      }),
    );
    // what listens does not know SIGHUP yet
    assert.is((await ask(server.port, { path: '/ok' })).status, 200);
    await callAll(server);
    const args = ['--config.file=prometheus.yml', '--storage.tsdb.path=data', `--web.listen-address=127.0.0.1:${web}`];
    const prometheus = endWithUs(spawn('prometheus', args, { cwd: folder, stdio: 'ignore' }));
    try {
      await eventually('a scrape', () =>
        query(web, 'noslate_fc_build_info').then(
          ({ length }) => length > 0,
          () => false,
        ),
      );
      await callAll(server);
      // a rate is made of what has grown from one scrape to another
      const grown = 'increase(noslate_fc_reloads_total[10s]) > 0 and increase(faas_timeouts_total[10s]) > 0';
      await eventually('another one', async () => (await query(web, grown.replace(' and ', ' and on () '))).length > 0);
      const metrics = String((await ask(port, { path: '/metrics' })).body);
      for (const { title, expr } of targets) {
        const names = expr.match(/\b(?:faas|http_server|noslate_fc|nodejs|v8js|process)_\w+/g) ?? ['up'];
        for (const name of names) assert.ok(name === 'up' || isTold(metrics, name), `${title}: ${name} is told`);
        const result = await query(web, filled(expr));
        assert.ok(result.length > 0, `${title}: ${expr} has values`);
        assert.ok(
          result.some(({ value: [, value] }) => value !== 'NaN'),
          `${title}: ${expr} has numbers`,
        );
      }
      for (const { name, query: asked } of templating.list) {
        const [, selector = '', label = ''] =
          /^label_values\((.*), (\w+)\)$/.exec(typeof asked === 'string' ? asked : asked.query) ?? [];
        if (selector === '') continue;
        const found = await query(web, `group by (${label}) (${filled(selector)})`);
        assert.ok(found.length > 0, `${name} has values`);
      }
    } finally {
      const ended = once(prometheus, 'exit');
      prometheus.kill();
      await within(10_000, ended, 'the end of Prometheus');
    }
  });
});

live.run();
